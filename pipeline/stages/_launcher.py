"""The launcher of trainings that params.yaml chooses: on this machine, or on a Ray cluster."""

from typing import Protocol

from components.training.callback import TrainingCallback
from components.training.job import TrainingJob
from components.training.state import TrainingState
from pipeline.config.params import Params
from pipeline.paths import Layout


class Launcher(Protocol):
    """Runs trainings somewhere."""

    def train(self, job: TrainingJob, callback: TrainingCallback) -> TrainingState:
        """Run a training from its last saved state, and wait for its end.

        Args:
            job: The training.
            callback: Receives its progress.

        Returns:
            The final state, with the best weights.

        Raises:
            Interrupted: The training was stopped; the same call resumes it.
            RatewrightError: The training failed.
        """

    def remove_state(self, job: TrainingJob) -> None:
        """Remove the saved state of a training whose results are safe; the next call of `train` begins anew."""


def launcher_of(settings: Params, variant: str, layout: Layout) -> Launcher:
    """The launcher of a variant's trainings.

    Args:
        settings: The params: `launcher`, `ray` and `resources`.
        variant: Name of the variant, whose resources count.
        layout: The checkout, which holds the storage of a Ray on this machine.
    """
    resources = settings.resources_of(variant)
    if settings.launcher == "local":
        from components.training.launchers.local import LocalLauncher

        return LocalLauncher(resources.workers)
    from components.training.launchers.ray import RayLauncher

    ray = settings.ray
    return RayLauncher(
        ray.address,
        resources,
        storage=str(layout.ray) if ray.storage is None else ray.storage.rstrip("/"),
        shards=ray.shards,
        cache_bytes=round(1e9 * ray.cache_gb),
        restarts=ray.restarts,
        wait_s=ray.wait_s,
    )
