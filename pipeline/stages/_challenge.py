"""A challenger and the champion on the same pictures, in the same run, each by the code that its version carries."""

import hashlib
import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, cast

import numpy as np

from components.arrays import Rgb
from components.evaluation.gate import Measured, Quality, judge
from components.storage.atomic import write_json
from pipeline.config.params import Params
from pipeline.documents import Leaderboard
from pipeline.documents.leaderboard import LossyRow
from pipeline.documents.registry import FiguresOnTestSet
from pipeline.paths import Layout
from pipeline.registry import regression_pictures
from pipeline.registry.loading import registered_codec
from pipeline.registry.models import RegisteredModel
from pipeline.registry.promotion import Comparison
from pipeline.registry.runs import Run
from pipeline.stages._data_set import Pictures, data_input
from pipeline.stages._threads import use_threads
from pipeline.terminal import progress

if TYPE_CHECKING:
    from components.codecs.codec_files import DeployedCoder
    from components.evaluation.results import RatePoint
    from pipeline.terminal import Bar

logger = logging.getLogger(__name__)


def compare(
    root: Path, settings: Params, model: RegisteredModel, version: str, champion: str, board: Leaderboard
) -> Comparison:
    """Measure both versions, and judge the challenger by the rules of the gate.

    An MLflow run keeps the figures of every picture (gate.json), and of each broken rule on the worst picture that
    picture side by side: as it is, by the champion, by the challenger.

    Args:
        root: The checkout.
        settings: Its params.
        model: The registered model.
        version: The challenger.
        champion: The champion.
        board: The leaderboard, which names target and metric.

    Raises:
        TrackingError: A version cannot be loaded, or MLflow does not answer.
        CalibrationError: A version does not reach the target on the test set.
    """
    logger.info("register: %s versions %s and %s on the same pictures", model.name, version, champion)
    use_threads(settings)
    test = Pictures(Layout(root).raw(settings.data.test))
    kept = list(regression_pictures.pictures(root, model.name))
    coders = [_at_target(root, settings, model, each, test, board) for each in (version, champion)]
    ours, theirs = _measure(coders, test, kept)
    rules = judge(settings.registry.all_rules, ours, theirs, _by_picture(board.metric))
    found = Comparison(_figures(ours, board.metric), _figures(theirs, board.metric), tuple(rules))
    facts = {"model": model.name, "challenger": version, "champion": champion, "target_bpp": board.target_bpp}
    data = data_input(root, settings, settings.data.test, "test")
    identity = f"gate-{model.name}-{version}-{champion}-{data.sha256}"
    with Run(root, f"gate {model.name} version {version}", identity, facts, [data]) as run:
        run.log_row({"step": 0, **{f"gain.{rule.rule}": rule.gain for rule in rules}})
        with TemporaryDirectory() as folder:
            both = {"challenger": asdict(ours), "champion": asdict(theirs)}
            write_json(Path(folder) / "gate.json", {**facts, "rules": [rule.model_dump() for rule in rules], **both})
            run.log_folder(Path(folder), "")
        for rule in rules:
            if not rule.passed and rule.picture is not None:
                regression = settings.registry.all_rules[rule.rule].pictures == "regression"
                original = next(rgb for name, rgb in (kept if regression else test) if name == rule.picture)
                run.log_picture(f"{rule.rule}/original_champion_challenger.png", _side_by_side(original, coders))
    return found


def gate_sha256(root: Path, settings: Params, model: RegisteredModel) -> str:
    """A hash of the rules and of the regression pictures: with others, a decision may turn out otherwise."""
    kept = [picture.run_id for picture in regression_pictures.listed(root, model.name)]
    rules = {name: rule.model_dump() for name, rule in settings.registry.all_rules.items()}
    return hashlib.sha256(json.dumps([rules, sorted(kept)], sort_keys=True).encode()).hexdigest()


def measure_alone(
    root: Path, settings: Params, model: RegisteredModel, version: str, board: Leaderboard
) -> FiguresOnTestSet:
    """The figures of one version at the target on the test set, measured now. Raises as `compare`."""
    logger.info("register: measuring %s version %s on %s", model.name, version, board.test_set)
    use_threads(settings)
    test = Pictures(Layout(root).raw(settings.data.test))
    (measured,) = _measure([_at_target(root, settings, model, version, test, board)], test, [])
    return _figures(measured, board.metric)


def figures_at_target(row: "LossyRow | RatePoint", metric: str) -> FiguresOnTestSet:
    """The rate and the ranking metric of a row of the leaderboard, or of a measured set."""
    return FiguresOnTestSet.model_validate({"bpp": row.bpp, metric: getattr(row, metric)})


def _measure(coders: "Sequence[DeployedCoder]", test: Pictures, kept: Sequence[tuple[str, Rgb]]) -> list[Measured]:
    """Each coder on the test set and on the regression pictures, and the memory of the largest test picture."""
    from components.evaluation.complexity import peak_memory_mb
    from components.evaluation.measure import measure_in_turns

    with progress("register: gate") as bar:
        results = measure_in_turns(coders, _counted(chain(test, kept), len(test) + len(kept), bar))
    count = len(test)
    return [
        Measured(found[:count], found[count:], peak_memory_mb(coder, test.largest()))
        for coder, found in zip(coders, results, strict=True)
    ]


def _at_target(
    root: Path, settings: Params, model: RegisteredModel, version: str, test: Pictures, board: Leaderboard
) -> "DeployedCoder":
    """A version, run by its own code, with the gain that meets the target on the test set."""
    from components.codecs.codec_files import DeployedCoder
    from components.rate.gain_search import choose_gain
    from components.rate.real_rate import bpp_of, rate_and_psnr

    codec = registered_codec(root, f"models:/{model.name}/{version}")
    gain = choose_gain(
        lambda gain: bpp_of(DeployedCoder(codec, gain), test.rgbs),
        lambda gain: rate_and_psnr(DeployedCoder(codec, gain), test.rgbs)[1],
        board.target_bpp,
        settings.registry.rate_slack,
        start=codec.gain,
        operating_points=codec.operating_points,
    )
    return DeployedCoder(codec, gain)


def _counted(pictures: Iterable[tuple[str, Rgb]], count: int, bar: "Bar") -> Iterator[tuple[str, Rgb]]:
    """The pictures, of which there are `count`; each moves the bar when it is asked for."""
    for done, picture in enumerate(pictures):
        bar(done, count)
        yield picture


def _side_by_side(original: Rgb, coders: "Sequence[DeployedCoder]") -> Rgb:
    """A picture, and what the champion and the challenger make of it."""
    challenger, champion = (coder.decode(coder.encode(original)) for coder in coders)
    return np.hstack([original, champion, challenger])


def _figures(measured: Measured, metric: str) -> FiguresOnTestSet:
    from components.evaluation.results import summarise

    return figures_at_target(summarise(measured.test), metric)


def _by_picture(metric: str) -> Quality:
    """The metric that ranks codecs as a figure of single pictures: the pooled PSNR is none."""
    return "psnr_db" if metric == "pooled_psnr_db" else cast(Quality, metric)
