"""Where trainings run: what params.yaml says under `launcher`, `ray` and `resources`."""

from typing import Protocol

from components.training.callback import TrainingCallback
from components.training.job import TrainingJob
from components.training.state import TrainingState
from pipeline.config.params import Params
from pipeline.paths import Layout


class Launcher(Protocol):
    """Has trainings run somewhere."""

    def train(self, job: TrainingJob, callback: TrainingCallback) -> TrainingState:
        """Have `job` run, from its last saved state on, and wait for its end, whose state holds the best weights.

        Raises Interrupted where it was stopped, RatewrightError where it failed; the same call goes on from there.
        """

    def remove_state(self, job: TrainingJob) -> None:
        """Remove the state of a training whose results are safe: asked for again, it begins anew."""


def launcher_of(settings: Params, variant: str, layout: Layout) -> Launcher:
    """That of the trainings of `variant`."""
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
