"""The training loop, on Lightning Fabric."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ..codecs.base import Codec
from ..data.loader import Batch
from ..data.shard_reader import Shards
from ..rate.lambda_controller import LambdaController
from .allocator import keep_freed_memory
from .callback import TrainingCallback
from .config import TrainingConfig
from .interrupt import Interrupted, stop_requests
from .process_group import ProcessGroup
from .run import TrainingRun
from .state import TrainingState


def train(
    codec: Codec,
    shards: Shards,
    config: TrainingConfig,
    *,
    seed: int = 0,
    state_path: str | Path,
    fingerprint: str,
    callback: TrainingCallback,
    controller: LambdaController | None = None,
    rate_of: Callable[[Codec], float] | None = None,
    stop_requested: Callable[[], bool] = lambda: False,
    save_every_s: float = 60.0,
    wrap_batches: Callable[[Iterator[Batch]], Iterator[Batch]] = lambda batches: batches,
) -> TrainingState:
    """Train `codec` in place on `shards`, and leave it with the weights of the best validation.

    The best validation has the lowest loss at the present lambda, so that validations at different lambdas compare. A
    validation with four times that loss means that training diverged: it continues from the best weights at half the
    learning rate. So does a step or a validation whose loss is not finite; before the first validation it continues
    from the initial weights.

    Several processes can train together (`ProcessGroup`). Each calls this function with the same arguments and takes
    its part of every batch. Rank 0 alone validates, saves the state and calls `callback`, and it alone has the best
    weights.

    Args:
        codec: the codec with its initial weights.
        shards: training and validation patches.
        config: how to train; `config.lmbda` is needed for a codec with lambda.
        seed: seed of the sample order and of the noise.
        state_path: a path or s3:// address of the training state, from which a stopped training resumes.
        fingerprint: identity of the training; the state of another training is not resumed.
        callback: receives the progress.
        controller: adjusts lambda after validations to the rate that `rate_of` measures.
        rate_of: bits per pixel of real bitstreams of the codec, measured in every validation.
        stop_requested: polled after every step; True stops the training.
        save_every_s: seconds between saves of the state, which is the most work that a kill costs.
        wrap_batches: called once with this rank's batches; training takes what it returns, such as a generator that
            measures how long each batch is waited for.

    Returns:
        The final state, with the history of validations and, on rank 0, the best weights.

    Raises:
        Interrupted: on SIGINT or SIGTERM, or when `stop_requested`; the state is saved first.
        RatewrightError: for losses that are not finite whatever the learning rate, and for a state that cannot be read
            or written.
        SourceError: where more patches are undecodable than `config.max_skipped` allows.
    """
    keep_freed_memory()
    state = TrainingState.load(state_path, fingerprint)
    process_group = ProcessGroup()
    run = TrainingRun(codec, shards, config, seed, state, process_group, controller, rate_of)
    batches = wrap_batches(run.batches())
    first_rank = process_group.rank == 0
    saved_at = time.monotonic()
    try:
        with stop_requests() as signalled:
            while not run.finished:
                loss = run.step(batches)
                if first_rank:
                    callback.on_step(run.spent, state.step, loss)
                validation = run.validate(loss) if run.validation_due else None
                stop = process_group.any(signalled() or stop_requested())
                # The state is saved before the callback runs, which may fail: its listener may have ended.
                if first_rank and (run.finished or stop or time.monotonic() - saved_at > save_every_s):
                    run.save(state_path)
                    saved_at = time.monotonic()
                if first_rank and validation is not None:
                    callback.on_validation(validation)
                if stop and not run.finished:
                    raise Interrupted(f"stopped at step {state.step}; run the same command to go on from there")
    finally:
        del batches  # a traceback would keep the loader's processes, which ignore SIGTERM for a minute
    codec.load_state_dict(state.best or codec.state_dict())
    codec.to("cpu").eval()
    return state
