"""The stages of several experiments as one graph, in which work that experiments share is done once."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pipeline.schedule.stage_nodes import StageNode
from pipeline.schedule.sweeps.sweep_plan import Experiment


@dataclass(frozen=True)
class ExperimentStage:
    """A stage of an experiment.

    Attributes:
        experiment: The experiment.
        stage: DVC's name of the stage.
        node: The stage as the runner knows it: its name has the experiment's in front.
        shared: Whether an earlier experiment runs it too. It then waits for that one, and DVC's cache has its outputs.
    """

    experiment: Experiment
    stage: str
    node: StageNode
    shared: bool


def sweep_graph(experiments: Sequence[Experiment]) -> dict[str, ExperimentStage]:
    """The stages of all experiments by the names of their nodes, each after those that it waits for."""
    first: dict[tuple[str, str], str] = {}
    found = {}
    for experiment in experiments:
        for name, stage in experiment.stages.items():
            own = _node_name(experiment, name)
            upstream = [_node_name(experiment, above) for above in stage.node.upstream]
            earlier = first.setdefault((name, stage.identity), own)
            if earlier != own:
                upstream.append(earlier)
            node = replace(stage.node, name=own, upstream=tuple(upstream))
            found[own] = ExperimentStage(experiment, name, node, earlier != own)
    return found


def _node_name(experiment: Experiment, stage: str) -> str:
    return f"{experiment.name}:{stage}"  # neither git nor DVC has a colon in a name
