"""Which stage to start first, and the time that is left, from the times of earlier runs."""

from collections.abc import Mapping, Sequence
from statistics import mean, median

from pipeline.schedule.stage_nodes import StageNode

UNKNOWN_S = 1.0
"""Seconds of each stage where no stage has run yet."""


def estimates(nodes: Sequence[StageNode], seconds: Mapping[str, float]) -> dict[str, float]:
    """Seconds that each stage will take.

    Args:
        nodes: The stages.
        seconds: Name -> seconds of its last run, of any stages.

    Returns:
        The seconds of its own last run; without one, the mean of its sibling instances, or else the median of all.
    """
    siblings: dict[str, list[float]] = {}
    for name, each in seconds.items():
        siblings.setdefault(name.partition("@")[0], []).append(each)
    usual = median(seconds.values()) if seconds else UNKNOWN_S
    guesses = {stage: mean(each) for stage, each in siblings.items()}
    return {node.name: seconds.get(node.name, guesses.get(node.stage, usual)) for node in nodes}


def longest_paths(nodes: Sequence[StageNode], estimate: Mapping[str, float]) -> dict[str, float]:
    """Seconds from the start of each stage to the end of the last one that waits for it, on the longest path.

    To start the stage with the longest path first is the classic rule of list scheduling: what everything waits for
    never waits itself, and short stages fill the gaps.

    Args:
        nodes: The stages; each comes after its upstream. Upstream names outside of `nodes` do not count.
        estimate: Name -> seconds of each.
    """
    path = {node.name: estimate[node.name] for node in nodes}
    for node in reversed(nodes):
        for above in node.upstream:
            if above in path:
                path[above] = max(path[above], estimate[above] + path[node.name])
    return path


def seconds_left(
    nodes: Sequence[StageNode], estimate: Mapping[str, float], running: Mapping[str, float], slots: int
) -> float:
    """Seconds to the end of a run: no less than the longest path, nor than the work shared by all slots.

    Args:
        nodes: The stages that are not done; each comes after its upstream.
        estimate: Name -> seconds of each.
        running: Seconds since its start of each stage that runs.
        slots: Number of stages that run at a time.
    """
    left = {node.name: max(0.0, estimate[node.name] - running.get(node.name, 0.0)) for node in nodes}
    return max(max(longest_paths(nodes, left).values(), default=0.0), sum(left.values()) / slots)
