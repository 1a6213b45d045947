"""The stage `validate`: a training set, and calibration and test beside it, checked before anything is trained."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from components.data.licences import unlicensed
from components.data.validation.duplicates import across, leaks, within
from components.data.validation.findings import CheckedSet, Finding, SamePictures, SetRole, check, named
from components.data.validation.picture import measure_all
from components.data.validation.statistics import MeasuredSet, drift
from components.errors import RatewrightError
from components.storage.atomic import write_bytes
from pipeline.config import params
from pipeline.config.datasets import named_dataset
from pipeline.documents import Passed, Verdict, write
from pipeline.documents.validation import ValidatedSet
from pipeline.entry import stage
from pipeline.paths import Layout
from pipeline.registry import measured_sets
from pipeline.reporting.contact_sheet import contact_sheet, extreme_tiles, pair_tiles
from pipeline.reporting.validation_page import render_verdict
from pipeline.stages._data_set import content_hash, data_input, manifest
from pipeline.terminal import progress

logger = logging.getLogger(__name__)

_THREADS = os.cpu_count() or 1


def run(root: Path, dataset: str, name: str | None = None) -> None:
    """Check what codecs are trained on, against what they are measured on.

    Args:
        root: The checkout.
        dataset: The training data.
        name: The fine-tuned variant that is trained on it, which may know the calibration set; None for the training
            set of all other variants.

    Raises:
        RatewrightError: A rule of action `fail` is broken; one line for each, with the first pictures.
    """
    settings, layout = params.load(root), Layout(root)
    roles: dict[str, SetRole] = {dataset: "training"}
    if name is None:
        roles[settings.data.calibration] = "calibration"
    roles[settings.data.test] = "test"
    name = name or dataset
    out = layout.validation(name)
    (out / "passed.json").unlink(missing_ok=True)
    sets = {each: _measure(root, settings, each, role) for each, role in roles.items()}
    measured = {each: _measured_set(layout, settings, one) for each, one in sets.items()}
    if settings.validation.drift.action != "off":
        sets = {each: _with_drift(root, one, measured[each]) for each, one in sets.items()}
    training, *held_out = sets.values()
    leaked, twice = _leaks(name, training, held_out), _duplicates(list(sets.values()))
    findings = check(settings.validation, list(sets.values()), leaked, twice)
    verdict = Verdict(
        name=name,
        passed=not any(finding.action == "fail" for finding in findings),
        sets={
            each: ValidatedSet(
                role=one.role,
                content=measured[each].content,
                revision=measured[each].revision,
                statistics=measured[each].statistics,
                drift=one.drift,
            )
            for each, one in sets.items()
        },
        findings=tuple(findings),
        leaks=tuple(leaked),
        duplicates=tuple(twice),
    )
    _write(verdict, list(sets.values()), layout)
    _tell(verdict, out)
    if settings.validation.drift.action != "off":  # a set that stops the run is none to compare the next one with
        for each, one in sets.items():
            measured_sets.record(root, measured[each], data_input(root, settings, each, one.role))
    write(Passed(name=name), out / "passed.json")


def _measure(root: Path, settings: params.Params, name: str, role: SetRole) -> CheckedSet:
    """A data set with its measured pictures."""
    layout = Layout(root)
    files = manifest(layout.raw(name)).files
    with progress(f"validate {name}") as bar:
        cache = layout.resumable("validate", "pictures")
        pictures = measure_all(layout.raw(name), files, cache, threads=_THREADS, progress=bar)
    missing = unlicensed(named_dataset(root, settings, name), files)
    return CheckedSet(name=name, role=role, pictures=tuple(pictures), unlicensed=tuple(missing), drift=None)


def _measured_set(layout: Layout, settings: params.Params, one: CheckedSet) -> MeasuredSet:
    """The figures of a data set, as MLflow keeps them."""
    folder = layout.raw(one.name)
    fetched, revision = manifest(folder), settings.datasets[one.name].revision
    content, undecodable = content_hash(folder), [file.name for file in fetched.undecodable]
    return MeasuredSet.of(one.name, content, revision, one.pictures, fetched.files, undecodable)


def _with_drift(root: Path, one: CheckedSet, now: MeasuredSet) -> CheckedSet:
    """The set with how it differs from the revision that was measured before."""
    before = measured_sets.previous(root, one.name, now.content)
    return one if before is None else one.model_copy(update={"drift": drift(now, before)})


def _leaks(name: str, training: CheckedSet, held_out: Sequence[CheckedSet]) -> list[SamePictures]:
    """Pictures of calibration and test in the training data."""
    pictures = [picture for one in held_out for picture in one.pictures]
    owners = [(one, place) for one in held_out for place in range(len(one.pictures))]
    with progress(f"validate {name}: leaks") as bar:
        pairs = leaks(training.pictures, pictures, threads=_THREADS, progress=bar)
    found = []
    for pair in pairs:
        owner, place = owners[pair.second]
        found += named([pair._replace(second=place)], training, owner)
    return found


def _duplicates(sets: Sequence[CheckedSet]) -> list[SamePictures]:
    """Pictures that are twice in one set, or in calibration and in test."""
    found = []
    for one in sets:
        found += named(within(one.pictures), one, one)
    if len(sets) == 3:
        _, calibration, test = sets
        found += named(across(calibration.pictures, test.pictures), calibration, test)
    return found


def _write(verdict: Verdict, sets: Sequence[CheckedSet], layout: Layout) -> None:
    """Write the verdict, the contact sheet and the page."""
    folders = {one.name: layout.raw(one.name) for one in sets}
    sections = [
        ("pictures of calibration or test in the training data", pair_tiles(verdict.leaks, folders)),
        ("pictures that are there twice", pair_tiles(verdict.duplicates, folders)),
    ]
    for one in sets:
        features = {picture.name: picture.features for picture in one.pictures}
        sections.append((f"{one.name}: the ends of each figure", extreme_tiles(features, folders[one.name])))
    sheet, out = contact_sheet(sections), layout.validation(verdict.name)
    write(verdict, out / "verdict.json")
    write_bytes(out / "sheet.png", sheet)
    write_bytes(out / "index.html", render_verdict(verdict, sheet).encode())


def _tell(verdict: Verdict, out: Path) -> None:
    """Log every finding. Raises RatewrightError for those that end the run."""
    for one, each in verdict.sets.items():
        if each.drift is not None:
            logger.info("validate %s: %s %s", verdict.name, one, each.drift)
    for finding in verdict.findings:
        if finding.action == "warn":
            logger.warning("validate %s: %s", verdict.name, _line(finding))
    fatal = [_line(finding) for finding in verdict.findings if finding.action == "fail"]
    if fatal:
        advice = f"see {out / 'index.html'}; `validation` in {params.FILE} has the rules"
        raise RatewrightError(f"validate {verdict.name}: {'; '.join(fatal)} ({advice})")
    counts = ", ".join(f"{each.statistics.pictures} of {one}" for one, each in verdict.sets.items())
    logger.info("validate %s: %s pictures passed, see %s", verdict.name, counts, out / "index.html")


def _line(finding: Finding) -> str:
    return f"{finding.rule}: {finding.data_set}: {finding.text}"


if __name__ == "__main__":
    stage(run)
