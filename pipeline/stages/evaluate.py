"""The stage `evaluate`: a variant or a baseline measured on the test set into evaluation/<name>/.

A lossless one has no rate to trade for quality, so there is none at the target; every pixel must come back.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.codecs.classic import BASELINES, AtQuality
from components.codecs.lossless_baselines import LOSSLESS
from components.codecs.quality_search import largest_quality
from components.errors import CalibrationError, RatewrightError
from components.evaluation import Coder, ImageResult, LearnedCoder, gain_at, measure, summarise
from components.files import write_bytes, write_json
from components.images.decode import encode_png
from pipeline import params
from pipeline.console import console
from pipeline.entry import stage
from pipeline.illustrations import keep_maps, keep_prefixes
from pipeline.layout import Layout
from pipeline.params import Params
from pipeline.pictures import content_hash, pictures

SHOWN = 4  # pictures of each test set whose reconstructions are kept
NO_TARGET = "lossless: its rate is what the picture takes"
COLUMNS = "test_set,point,image,width,height,bytes,bpp,psnr_db,ssim,ms_ssim,swd,encode_s,decode_s"

Rgb = NDArray[np.uint8]


@dataclass(frozen=True)
class Subject:
    """What is measured: its coder as deployed, its coder at the target on the test set, and its facts."""

    facts: dict[str, Any]
    as_calibrated: Coder
    at_target: Coder | None
    at_target_why: str


def run(root: Path, name: str) -> None:
    """Write metrics.json, images.csv and the first reconstructions of `name`."""
    settings, layout = params.load(root), Layout(root)
    test_set = settings.data.test
    originals = list(pictures(layout.raw(test_set)))
    rgbs = [rgb for _, rgb in originals]
    baseline = name in settings.baselines
    subject = _baseline(name, settings, layout, rgbs) if baseline else _learned(name, settings, layout, rgbs)

    out = layout.evaluation(name)
    (out / "reconstructions" / test_set).mkdir(parents=True, exist_ok=True)
    shown = {file for file, _ in originals[:SHOWN]}

    def keep(file: str, decoded: Rgb) -> None:
        if file in shown:
            write_bytes(out / "reconstructions" / test_set / f"{Path(file).stem}.png", encode_png(decoded))

    points: dict[str, Any] = {"as_calibrated": None, "at_target": None}
    table: list[tuple[str, ImageResult]] = []
    try:
        as_deployed = measure(subject.as_calibrated, originals, lossless=subject.facts["kind"] == "lossless")
    except RatewrightError as error:
        raise RatewrightError(f"evaluate {name}: {error}") from error
    points["as_calibrated"] = summarise(as_deployed)
    table += [("as_calibrated", result) for result in as_deployed]
    if subject.at_target is None:
        points["at_target_why"] = subject.at_target_why
    else:
        at_target = measure(subject.at_target, originals, keep)
        points["at_target"] = summarise(at_target)
        table += [("at_target", result) for result in at_target]

    keep_prefixes(subject.as_calibrated, *originals[0], layout.prefixes(name, test_set))
    keep_maps(subject.as_calibrated, *originals[0], layout.maps(name, test_set))
    metrics = {
        "name": name,
        "target_bpp": settings.target_bpp,
        **subject.facts,
        **_costs(subject),
        **_rungs(subject, test_set, originals),
        "test_sets": {test_set: points},
        "test_set_sha256": {test_set: content_hash(layout.raw(test_set))},
    }
    write_bytes(out / "images.csv", _csv(test_set, table).encode())
    write_json(layout.metrics(name), metrics)
    console.print(f"evaluate {name}: {_brief(points, test_set)}, {layout.metrics(name)}")


def _learned(name: str, settings: Params, layout: Layout, rgbs: list[Rgb]) -> Subject:
    from components.training import checkpoint

    variant = settings.variant(name)
    codec, _ = checkpoint.load(layout.calibrated(name), codec=variant.codec)
    deployed = LearnedCoder(codec)
    if codec.knob is None:
        return Subject({"kind": "lossless", "reported": codec.reported}, deployed, None, NO_TARGET)
    facts: dict[str, Any] = {"kind": "learned", "reported": codec.reported, "setting": codec.setting(codec.gain.item())}
    try:
        gain = gain_at(codec, rgbs, settings.target_bpp, variant.calibrate.tolerance)
    except CalibrationError as error:
        return Subject(facts, deployed, None, str(error))
    facts |= {"gain_at_target": gain, "setting_at_target": codec.setting(gain)}
    return Subject(facts, deployed, LearnedCoder(codec, gain), "")


def _baseline(name: str, settings: Params, layout: Layout, rgbs: list[Rgb]) -> Subject:
    if name in LOSSLESS:
        exact = LOSSLESS[name]
        return Subject(
            {"kind": "lossless", "version": exact.version, "settings": exact.settings}, exact, None, NO_TARGET
        )
    if name not in BASELINES:
        raise RatewrightError(f"unknown baseline {name!r}; known: {', '.join((*BASELINES, *LOSSLESS))}")
    classic, target = BASELINES[name], settings.target_bpp
    calibration = [rgb for _, rgb in pictures(layout.raw(settings.data.calibration))]
    deployed = largest_quality(classic, calibration, target).quality
    facts = {
        "kind": "baseline",
        "version": classic.version,
        "settings": classic.settings,
        "quality": {"as_calibrated": deployed, "at_target": None},
    }
    coder = AtQuality(classic, deployed)
    try:
        quality = largest_quality(classic, rgbs, target).quality
    except CalibrationError as error:
        return Subject(facts, coder, None, str(error))
    facts["quality"] = {"as_calibrated": deployed, "at_target": quality}
    return Subject(facts, coder, AtQuality(classic, quality), "")


def _rungs(subject: Subject, test_set: str, originals: Sequence[tuple[str, Rgb]]) -> dict[str, Any]:
    """Of a codec with settings instead of a quantiser step: the finest of each range, such as each bit depth."""
    coder = subject.as_calibrated
    if not isinstance(coder, LearnedCoder) or not coder.codec.rungs:
        return {}
    points = []
    for rungs in coder.codec.rungs:
        point = summarise(measure(LearnedCoder(coder.codec, rungs[-1]), originals))
        points.append({"setting": coder.codec.setting(rungs[-1]), **point})
    return {"rungs": {test_set: points}}


def _costs(subject: Subject) -> dict[str, Any]:
    from components.metrics.complexity import kmac_per_px, parameters, peak_mb

    if isinstance(subject.as_calibrated, LearnedCoder):
        codec = subject.as_calibrated.codec
        encoder, decoder = kmac_per_px(codec)
        return {
            "parameters": parameters(codec),
            "encoder_kmac_per_px": encoder,
            "decoder_kmac_per_px": decoder,
            "peak_mb": peak_mb(),
        }
    fields = ("parameters", "encoder_kmac_per_px", "decoder_kmac_per_px")
    why = "a classic codec has no network"
    return {**dict.fromkeys(fields), **{f"{field}_why": why for field in fields}, "peak_mb": peak_mb()}


def _csv(test_set: str, table: list[tuple[str, ImageResult]]) -> str:
    fields = COLUMNS.split(",")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(fields)
    for point, result in table:
        writer.writerow([test_set, point, *(getattr(result, field) for field in fields[2:])])
    return text.getvalue()


def _brief(points: dict[str, Any], test_set: str) -> str:
    said = []
    for label in ("as_calibrated", "at_target"):
        if (point := points[label]) is not None:
            quality = "lossless" if point["psnr_db"] is None else f"{point['psnr_db']:.2f} dB"
            said.append(f"{label.replace('_', ' ')} {quality} at {point['bpp']:.4f} bpp")
    return f"{test_set}: " + ", ".join(said)


if __name__ == "__main__":
    stage(run)
