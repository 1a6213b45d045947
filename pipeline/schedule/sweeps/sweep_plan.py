"""The experiments of a sweep, checked before anything runs: their params, their stages, what they have in common."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from components.errors import RatewrightError
from pipeline.config import params
from pipeline.config.edits import edited
from pipeline.schedule.git import Repository
from pipeline.schedule.run_commits import LOCK
from pipeline.schedule.sweeps.experiments import check_name, lock_of
from pipeline.schedule.sweeps.grid import Point, names
from pipeline.schedule.sweeps.stage_identities import Stages, closure, stages_under

_MEASURES = "evaluate"
"""The beginning of the names of stages that measure a codec."""


@dataclass(frozen=True)
class Experiment:
    """One point of a sweep.

    Attributes:
        name: DVC's name of the experiment.
        point: The value of each swept key.
        settings: The text of its params.yaml.
        lock: The text of the dvc.lock that it begins with: of the workspace's, what holds under its params.
        targets: The stages that it was asked for.
        stages: The targets and all that they need.
    """

    name: str
    point: Point
    settings: str
    lock: str
    targets: tuple[str, ...]
    stages: Stages


@dataclass(frozen=True)
class SweepPlan:
    """The experiments of a sweep.

    Attributes:
        base: The commit that they start from.
        experiments: In the order of their points.
    """

    base: str
    experiments: tuple[Experiment, ...]

    @property
    def common(self) -> list[str]:
        """The stages that are the same in all experiments."""
        first, *others = (experiment.stages for experiment in self.experiments)
        return [name for name, stage in first.items() if all(other.get(name) == stage for other in others)]


def plan(repository: Repository, points: Sequence[Point], targets: Sequence[str], prefix: str | None) -> SweepPlan:
    """Make the experiments of a sweep.

    params.yaml and dvc.lock count as they lie in the workspace; all other files are those of the commit that is checked
    out, so that an experiment is what its commit says.

    Args:
        repository: The checkout.
        points: The values of the swept keys.
        targets: Stages, or groups of them such as `evaluate`. None takes the evaluations that the keys change.
        prefix: The beginning of the experiments' names; None lets the keys decide.

    Raises:
        RatewrightError: A key, a value, a target or a name is wrong, two points would do the same, or tracked files
            were edited; one line. Nothing was written.
    """
    root, base = repository.root, repository.head()
    if edits := set(repository.changed_files()) - {params.FILE, LOCK}:
        advice = "a sweep runs the code of a commit"
        raise RatewrightError(f"{root}: commit or undo the edits of {', '.join(sorted(edits))} first: {advice}")
    params.load(root)
    present = (root / params.FILE).read_text()
    texts = [_settings(present, point) for point in points]
    labels = names(points, prefix)
    for label in labels:
        check_name(label)
    graphs = [stages_under(root, text) for text in texts]
    now = stages_under(root, present)
    wanted = [_targets(graph, targets) for graph in graphs] if targets else _changed_evaluations(now, graphs, points[0])
    lock = (root / LOCK).read_text() if (root / LOCK).exists() else ""
    experiments = []
    for label, point, text, graph, ends in zip(labels, points, texts, graphs, wanted, strict=True):
        holds = [name for name, stage in graph.items() if name in now and stage.identity == now[name].identity]
        stages = closure(graph, ends)
        experiments.append(Experiment(label, point, text, lock_of(lock, holds), tuple(ends), stages))
    _refuse_equal(experiments)
    return SweepPlan(base, tuple(experiments))


def _settings(present: str, point: Point) -> str:
    """The text of params.yaml at a point, checked, the swept hyper-parameters by their codecs."""
    text = edited(present, point)
    try:
        settings = params.loads(text)
        for name in {key.removeprefix("+").split(".")[1] for key in point if _reaches_codec(key)}:
            if name in settings.all_variants:
                from components.codecs.table import build

                build(settings.variant(name).codec, settings.variant(name).hyperparameters)
    except RatewrightError as error:
        values = ", ".join(f"{key}={value}" for key, value in point.items())
        raise RatewrightError(f"{values}: {error}") from error
    return text


def _reaches_codec(key: str) -> bool:
    return any(part in ("codec", "hyperparameters") for part in key.split(".")[2:3])


def _targets(graph: Stages, targets: Sequence[str]) -> list[str]:
    found = []
    for target in targets:
        instances = [name for name in graph if target in (name, name.partition("@")[0])]
        if not instances:
            raise RatewrightError(f"no stage {target}; there are {', '.join(graph)}")
        found += instances
    return list(dict.fromkeys(found))


def _changed_evaluations(now: Stages, graphs: Sequence[Stages], point: Point) -> list[list[str]]:
    """The evaluations whose results depend on the point, the same ones for every point that has them."""
    identities: dict[str, set[Any]] = {}
    for graph in (now, *graphs):
        for name, stage in graph.items():
            identities.setdefault(name, set()).add(stage.identity)
    changed = {name for name, found in identities.items() if name.startswith(_MEASURES) and len(found) > 1}
    wanted = [[name for name in graph if name in changed] for graph in graphs]
    if not all(wanted):
        raise RatewrightError(f"no evaluation depends on {', '.join(point)}: name the stages to run")
    return wanted


def _refuse_equal(experiments: Sequence[Experiment]) -> None:
    """Raise RatewrightError if two experiments have the same targets to run, or the same name."""
    seen: dict[Any, str] = {}
    for experiment in experiments:
        ends = tuple((target, experiment.stages[target].identity) for target in experiment.targets)
        if (other := seen.setdefault(ends, experiment.name)) != experiment.name:
            aims = ", ".join(experiment.targets)
            raise RatewrightError(
                f"{other} and {experiment.name} would run the same: {aims} does not depend on the key"
            )
