"""Values that two files of a kept run have differently: dvc.lock, checkpoint facts, calibrations, the leaderboard."""

import csv
import hashlib
import io
import json
from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import JsonValue
from pydantic_core import to_jsonable_python

from components.storage.atomic import hash_of, read_json
from pipeline.config import params
from pipeline.documents import Section
from pipeline.documents.leaderboard import LossyRow
from pipeline.reporting.archive import CHAMPION, KeptRun

MD5_OF = "md5 of "
"""How the key of a file whose bytes are not those of dvc.lock begins."""
COMMIT = "git_commit"
"""The key of a variant that was trained on another commit than the winner."""
SHARDS = "data_sha256"
"""The key of a variant that was trained on other shards of the same data than the first."""
NAMED = 5
"""Disagreements that an error names; it counts the others."""

Pairs = Mapping[str, tuple[Any, Any]]
"""Key -> its value in one file and in another."""


class Disagreement(Section):
    """One value that two files of a run have differently."""

    stage: str
    """The stage of dvc.lock that the value belongs to."""
    key: str
    """What differs."""
    values: dict[str, JsonValue]
    """File -> its value: two of them."""

    def __str__(self) -> str:
        said = ", ".join(f"{file} says {json.dumps(value)}" for file, value in self.values.items())
        return f"{self.stage}, {self.key}: {said}"


def disagreements(run: KeptRun) -> list[Disagreement]:
    """Every value that two files of a run have differently, in the order of the stages."""
    return [
        *_locked(run),
        *_commits(run),
        *_trainings(run),
        *_champion(run),
        *_calibrations(run),
        *_ranking(run),
        *_files(run),
    ]


def in_one_line(found: Sequence[Disagreement]) -> str:
    """The first disagreements, and the number of the others."""
    more = f"; and {len(found) - NAMED} more" if len(found) > NAMED else ""
    return "; ".join(map(str, found[:NAMED])) + more


def _compare(stage: str, files: tuple[str, str], pairs: Pairs) -> Iterator[Disagreement]:
    """The pairs whose values differ."""
    for key, values in pairs.items():
        if values[0] != values[1]:
            yield Disagreement(stage=stage, key=key, values=dict(zip(files, to_jsonable_python(values), strict=True)))


def _missing(stage: str, files: tuple[str, str], names: tuple[Iterable[str], Iterable[str]]) -> Iterator[Disagreement]:
    """The codecs that one of two files lacks."""
    first, second = map(set, names)
    for name in sorted(first ^ second):
        pair = {"name": (name if name in first else None, name if name in second else None)}
        yield from _compare(f"{stage} {name}", files, pair)


def _locked(run: KeptRun) -> Iterator[Disagreement]:
    """dvc.lock against params.yaml, and the code of its stages against each other."""
    code: dict[str, tuple[str, Any]] = {}
    for stage in run.lock:
        for key, locked in run.locked_params(stage).items():
            now, then = _leaves(key, _at(run.parameters, key)), _leaves(key, locked)
            pairs = {leaf: (then.get(leaf), now.get(leaf)) for leaf in {**then, **now}}
            yield from _compare(stage, ("dvc.lock", params.FILE), pairs)
        for key, digest in run.locked_params(stage, "code.json").items():
            first, expected = code.setdefault(key, (stage, digest))
            yield from _compare(stage, (f"dvc.lock at {first}", "dvc.lock"), {f"code {key}": (expected, digest)})


def _commits(run: KeptRun) -> Iterator[Disagreement]:
    """Each variant's commit against the winner's, or the first variant's where nothing won."""
    commits = {name: budget.git_commit for name, budget in run.run.variants.items()}
    reference = run.board.winner if run.board.winner in commits else next(iter(commits), None)
    for name, commit in commits.items():
        files = (f"run.json for {reference}", "run.json")
        yield from _compare(run.stage("train", name), files, {COMMIT: (commits[reference or name], commit)})


def _trainings(run: KeptRun) -> Iterator[Disagreement]:
    """The facts of checkpoints in run.json against dvc.lock, and those of variants on the same shards."""
    data: dict[str, tuple[str, str]] = {}
    for name, budget in run.run.variants.items():
        stage = run.stage("train", name)
        group = "fine_tuned" if name in run.parameters["fine_tuned"] else "variants"
        train = run.locked_params(stage).get(f"{group}.{name}.train", {})
        pairs: dict[str, tuple[Any, Any]] = {"steps": (train.get("steps"), budget.step)}
        pairs["patches"] = (budget.step * train.get("batch_size", 0), budget.patches)
        if train.get("precision", "auto") != "auto":
            pairs["precision"] = (train["precision"], budget.precision)
        begun = run.parameters["fine_tuned"].get(name, {}).get("start")
        begun = begun and (params.trained_variant(begun) or begun)
        pairs["start"] = (begun, budget.start and budget.start.variant)
        yield from _compare(stage, ("dvc.lock", "run.json"), pairs)
        if budget.start and (start := run.run.variants.get(budget.start.variant)):
            files = (f"run.json for {budget.start.variant}", "run.json")
            yield from _compare(stage, files, {"start.lmbda": (start.lmbda, budget.start.lmbda)})
        shards = [each["md5"] for each in run.lock.get(stage, {}).get("deps", ()) if "data/shards/" in each["path"]]
        first, expected = data.setdefault(str(shards), (name, budget.data_sha256))
        files = (f"run.json for {first}", "run.json")
        yield from _compare(stage, files, {SHARDS: (expected, budget.data_sha256)})


def _champion(run: KeptRun) -> Iterator[Disagreement]:
    """The facts of the winner's checkpoint against run.json and its calibration."""
    facts, winner = run.champion_facts, run.board.winner
    if facts is None or winner not in run.run.variants or winner not in run.calibrations:
        return
    budget, calibration = run.run.variants[winner].model_dump(), run.calibrations[winner]
    yield from _compare(
        run.stage("train", winner),
        (CHAMPION, "run.json"),
        {key: (facts[key], budget[key]) for key in ("precision", COMMIT, "data_sha256", "start")},
    )
    yield from _compare(
        run.stage("calibrate", winner),
        (CHAMPION, "calibrations.json"),
        {
            "variant": (facts["variant"], calibration.name),
            "target_bpp": (facts["target_bpp"], calibration.target_bpp),
            "bpp": (facts["calibrated_bpp"], calibration.bpp),
            "lmbda": (facts["lmbda"], calibration.lmbda),
            "steps": (facts["step"], calibration.steps),
        },
    )


def _calibrations(run: KeptRun) -> Iterator[Disagreement]:
    """Calibrations against the facts of the trained checkpoint, the evaluation and their own last trial."""
    names = run.run.variants, run.calibrations
    yield from _missing("calibrate", ("run.json", "calibrations.json"), names)
    calibration_set = run.board.calibration.test_set
    for name, found in run.calibrations.items():
        stage = run.stage("calibrate", name)
        if (evaluation := run.evaluations.get(name)) and calibration_set in evaluation.test_sets:
            measured = evaluation.test_sets[calibration_set].as_calibrated.bpp
            pairs = {
                "calibration_set": (calibration_set, found.calibration_set),
                "bpp": (measured, found.bpp),
                "setting": (evaluation.setting, found.setting),
            }
            yield from _compare(stage, ("evaluations.json", "calibrations.json"), pairs)
        trained = next((trial for trial in found.history if trial.phase == "trained"), None)
        if trained and (budget := run.run.variants.get(name)):
            pairs = {"trained steps": (budget.step, trained.steps), "trained lmbda": (budget.lmbda, trained.lmbda)}
            yield from _compare(stage, ("run.json", "calibrations.json"), pairs)
        if found.history:
            last = found.history[-1]
            pairs = {key: (getattr(last, key), getattr(found, key)) for key in ("lmbda", "gain", "bpp", "steps")}
            yield from _compare(stage, ("the last trial in calibrations.json", "calibrations.json"), pairs)


def _ranking(run: KeptRun) -> Iterator[Disagreement]:
    """Every figure of the leaderboard against the evaluation that it is from."""
    files = ("evaluations.json", "leaderboard.json")
    yield from _missing("evaluate", files, (run.evaluations, run.board.names))
    for test_set, rows in zip(run.test_sets, (run.board.rows, run.board.calibration.rows), strict=True):
        for row in rows:
            if (evaluation := run.evaluations.get(row.name)) and test_set in evaluation.test_sets:
                results = evaluation.test_sets[test_set]
                point = results.compared(run.board.target_bpp)
                origin = ChainMap(*(dict(part or ()) for part in (evaluation, results, point)))
                fields = [key for key in LossyRow.model_fields if not key.endswith("_why")]
                pairs = {f"{key} on {test_set}": (origin.get(key), getattr(row, key)) for key in fields}
                yield from _compare(run.stage("evaluate", row.name), files, pairs)
    for lossless in run.board.lossless:
        if evaluation := run.evaluations.get(lossless.name):
            point = evaluation.test_sets[run.board.test_set].as_calibrated
            pairs = {key: (getattr(point, key), getattr(lossless, key)) for key in ("bpp", "encode_s_per_mpx")}
            yield from _compare(run.stage("evaluate", lossless.name), files, pairs)


def _files(run: KeptRun) -> Iterator[Disagreement]:
    """The bytes of each file that a stage wrote and the run keeps, against their hash in dvc.lock."""
    locked = {each["path"]: (stage, each["md5"]) for stage in run.lock for each in run.lock[stage].get("outs", ())}
    for path, (file, digest) in _digests(run).items():
        stage, expected = locked.get(path, (path, None))
        yield from _compare(stage, ("dvc.lock", file), {f"{MD5_OF}{path}": (expected, digest)})


def _digests(run: KeptRun) -> dict[str, tuple[str, str]]:
    """Path in the checkout of the run -> the file of its folder that has it now, and its md5."""
    found = {"leaderboard.json": ("leaderboard.json", hash_of(run.folder / "leaderboard.json", "md5"))}
    if run.board.winner is not None:
        found[f"models/{run.board.winner}/calibrated.safetensors"] = CHAMPION, hash_of(run.folder / CHAMPION, "md5")
    for file, path in (("calibrations", "models/{}/calibration.json"), ("evaluations", "evaluation/{}/metrics.json")):
        for name, content in read_json(run.folder / f"{file}.json").items():
            text = json.dumps(content, indent=2) + "\n"  # as the stage wrote it
            found[path.format(name)] = f"{file}.json", hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
    header, *rows = csv.reader((run.folder / "images.csv").read_text().splitlines())
    for name in dict.fromkeys(row[0] for row in rows):
        table = io.StringIO()
        own = [header[1:], *(row[1:] for row in rows if row[0] == name)]
        csv.writer(table, lineterminator="\n").writerows(own)
        digest = hashlib.md5(table.getvalue().encode(), usedforsecurity=False).hexdigest()
        found[f"evaluation/{name}/images.csv"] = "images.csv", digest
    return found


def _at(document: Any, key: str) -> Any:
    """The value at a dotted key; None where there is none."""
    for part in key.split("."):
        document = document.get(part) if isinstance(document, dict) else None
    return document


def _leaves(key: str, value: Any) -> dict[str, Any]:
    """The values of nested keys, by dotted key."""
    if not isinstance(value, dict) or not value:
        return {key: value}
    return {leaf: found for inner, each in value.items() for leaf, found in _leaves(f"{key}.{inner}", each).items()}
