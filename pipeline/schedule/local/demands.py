"""What stages take of this machine, by params.yaml."""

from collections.abc import Sequence

from pipeline.config.params import Params
from pipeline.schedule.local.runner import Demand
from pipeline.schedule.machine import cores, gpus
from pipeline.schedule.stage_nodes import StageNode


def capacity(settings: Params, jobs: int | None = None) -> Demand:
    """What this machine has.

    Args:
        settings: The params: `threads` of a stage, and whether trainings run here.
        jobs: Number of stages at a time; None for as many as the cores have room for.
    """
    return Demand(slots=jobs or max(1, cores() // settings.threads), gpus=gpus() if settings.launcher == "local" else 0)


def demands(settings: Params, nodes: Sequence[StageNode], machine: Demand) -> dict[str, Demand]:
    """Name -> what each stage that trains takes; others take one slot.

    A training on GPUs takes as many as it has workers, all where `resources` leaves that open, as its launcher does.
    Without GPUs, the workers share the threads of a stage, with at least one each. On Ray, a training waits.
    """
    found = {}
    for node in nodes:
        if not node.accelerator or node.instance not in settings.all_variants or settings.launcher != "local":
            continue
        workers = settings.resources_of(node.instance).workers
        if machine.gpus:
            found[node.name] = Demand(gpus=workers or machine.gpus)
        elif workers:
            threads = workers * max(1, settings.threads // workers)
            found[node.name] = Demand(slots=-(-threads // settings.threads))
    return found
