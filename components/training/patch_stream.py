"""The batches of a training: patches of the shards, and large ones in the last part of the budget."""

from collections.abc import Iterator

from ..data.loader import Batch, training_batches
from ..data.shard_index import LARGE
from ..data.shard_reader import Shards
from .config import TrainingConfig
from .process_group import ProcessGroup
from .state import TrainingState


def patch_stream(
    shards: Shards, config: TrainingConfig, seed: int, state: TrainingState, process_group: ProcessGroup
) -> Iterator[Batch]:
    """This rank's batches, from the step after the last one done.

    Args:
        shards: training patches, with large ones where `config.large_patches` asks for them.
        config: how to train.
        seed: seed of the sample order.
        state: tells before each batch how much of the budget is used.
        process_group: the ranks that share each batch.

    Raises:
        SourceError: at once or from the iterator, for patches that are missing or cannot be reached.
    """

    def batches_of(split: str) -> Iterator[Batch]:
        return training_batches(
            shards,
            batch_size=config.batch_size,
            seed=seed,
            start_step=state.step,
            workers=config.workers,
            rank=process_group.rank,
            ranks=process_group.ranks,
            split=split,
        )

    def large_ones_last() -> Iterator[Batch]:
        batches = batches_of("train")
        while config.spent(state.step, state.elapsed_s) < 1 - config.large_patches:
            yield next(batches)
        del batches  # ends the loader's processes
        yield from batches_of(LARGE)

    if not config.large_patches:
        return batches_of("train")
    shards.patches(LARGE)  # missing ones are told now rather than when they are due
    return large_ones_last()
