"""The stage `evaluate`: a variant or a baseline measured on the test and the calibration set into evaluation/<name>/.

On the calibration set it meets the target as it is. On the test set it is brought there once more, since qualities
compare at equal rates, and to a few rates around it, since a BD-rate is of a curve. A lossless one has no rate to trade
for quality, so there is none at the target; every pixel must come back.
"""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.arrays import Rgb
from components.codecs.baselines.lossless import LOSSLESS
from components.codecs.baselines.lossy import BASELINES, AtQuality
from components.codecs.baselines.quality_search import largest_quality
from components.codecs.coder import Coder, LearnedCoder
from components.data.image_files import encode_png
from components.errors import CalibrationError, RatewrightError
from components.evaluation.measure import measure
from components.evaluation.results import ImageResult, summarise
from components.rate.gain_search import gain_at, rate_and_psnr, rate_over_gain
from components.storage.atomic import write_bytes, write_json
from pipeline.config import params
from pipeline.config.params import Params
from pipeline.entry import console, stage
from pipeline.paths import Layout
from pipeline.stages._data_set import content_hash, pictures
from pipeline.stages._illustrations import keep_maps, keep_prefixes

SHOWN = 4  # pictures of each set whose reconstructions are kept
CURVE = (0.6, 0.8, 1.4)  # the rates of a curve beside the target, in targets
CURVE_TOLERANCE = 0.1  # a curve goes through rates; which ones matters little
NO_TARGET = "lossless: its rate is what the picture takes"
COLUMNS = "test_set,point,image,width,height,bytes,bpp,psnr_db,ssim,ms_ssim,swd,encode_s,decode_s"

AtRate = Callable[[float, float | None], tuple[Coder, dict[str, Any]]]


@dataclass(frozen=True)
class Subject:
    """What is measured: its facts, its coder as deployed, and its coder at any rate, but for a lossless one.

    at_rate: bpp and tolerance (None: its own) to the coder that has this rate on the test set, and what to say of it.
        Raises CalibrationError where there is none.
    """

    facts: dict[str, Any]
    as_calibrated: Coder
    at_rate: AtRate | None


def run(root: Path, name: str) -> None:
    """Write metrics.json, images.csv and the first reconstructions of `name`."""
    settings, layout = params.load(root), Layout(root)
    test_set, calibration_set, target = settings.data.test, settings.data.calibration, settings.target_bpp
    originals = {key: list(pictures(layout.raw(key))) for key in (test_set, calibration_set)}
    rgbs = {key: [rgb for _, rgb in found] for key, found in originals.items()}
    if name in settings.baselines:
        subject = _baseline(name, target, rgbs[calibration_set], rgbs[test_set])
    else:
        subject = _learned(name, settings, layout, rgbs[test_set])

    out, lossless = layout.evaluation(name), subject.at_rate is None
    keep = {key: _keep(out, key, found) for key, found in originals.items()}
    # Of each set those at the target: on the test set that is another gain.
    kept = {} if lossless else {calibration_set: keep[calibration_set]}
    try:
        deployed = {
            key: measure(subject.as_calibrated, found, kept.get(key), lossless=lossless)
            for key, found in originals.items()
        }
    except RatewrightError as error:
        raise RatewrightError(f"evaluate {name}: {error}") from error
    points: dict[str, Any] = {
        key: {"as_calibrated": summarise(results).model_dump(), "at_target": None} for key, results in deployed.items()
    }
    table = [(key, "as_calibrated", result) for key, results in deployed.items() for result in results]
    facts, curve = subject.facts, []
    if subject.at_rate is None:
        for point in points.values():
            point["at_target_why"] = NO_TARGET
    else:
        points[calibration_set]["at_target"] = points[calibration_set]["as_calibrated"]
        table += [(calibration_set, "at_target", result) for result in deployed[calibration_set]]
        try:
            coder, said = subject.at_rate(target, None)
        except CalibrationError as error:
            points[test_set]["at_target_why"] = str(error)
        else:
            facts = facts | said
            results = measure(coder, originals[test_set], keep[test_set])
            points[test_set]["at_target"] = summarise(results).model_dump()
            table += [(test_set, "at_target", result) for result in results]
        curve = _curve(points[test_set]["at_target"], subject.at_rate, target, rgbs[test_set])

    keep_prefixes(subject.as_calibrated, *originals[test_set][0], layout.prefixes(name, test_set))
    keep_maps(subject.as_calibrated, *originals[test_set][0], layout.maps(name, test_set))
    metrics = {
        "name": name,
        "target_bpp": target,
        **facts,
        **_costs(subject),
        **_rungs(subject, test_set, originals[test_set]),
        "test_sets": points,
        "test_set_sha256": {key: content_hash(layout.raw(key)) for key in points},
        "curve": {test_set: curve},
    }
    write_bytes(out / "images.csv", _csv(table).encode())
    write_json(layout.metrics(name), metrics)
    console.print(f"evaluate {name}: {_brief(points, test_set)}, {layout.metrics(name)}")


def _keep(out: Path, key: str, originals: Sequence[tuple[str, Rgb]]) -> Callable[[str, Rgb], None]:
    """Keeps the first reconstructions of a set."""
    folder, shown = out / "reconstructions" / key, {file for file, _ in originals[:SHOWN]}
    folder.mkdir(parents=True, exist_ok=True)

    def keep(file: str, decoded: Rgb) -> None:
        if file in shown:
            write_bytes(folder / f"{Path(file).stem}.png", encode_png(decoded))

    return keep


def _curve(
    at_target: dict[str, Any] | None,
    at_rate: AtRate,
    target: float,
    rgbs: list[Rgb],
) -> list[dict[str, Any]]:
    """bpp and PSNR at the target and around it, by rate, where it reaches them."""
    points = [] if at_target is None else [(at_target["bpp"], at_target["psnr_db"])]
    for share in CURVE:
        try:
            coder, _ = at_rate(share * target, CURVE_TOLERANCE)
        except CalibrationError:
            continue
        points.append(rate_and_psnr(coder, rgbs))
    return [{"bpp": bpp, "psnr_db": psnr} for bpp, psnr in sorted(points) if psnr is not None]


def _learned(name: str, settings: Params, layout: Layout, rgbs: list[Rgb]) -> Subject:
    from components.codecs import checkpoint

    variant = settings.variant(name)
    codec, _ = checkpoint.load(layout.calibrated(name), codec=variant.codec)
    deployed = LearnedCoder(codec)
    if codec.rate_parameter is None:
        return Subject({"kind": "lossless", "reported": codec.paper_results}, deployed, None)

    over_gain = rate_over_gain(codec, rgbs)

    def at_rate(bpp: float, tolerance: float | None) -> tuple[Coder, dict[str, Any]]:
        gain = gain_at(codec, rgbs, bpp, tolerance or variant.calibrate.tolerance, over_gain=over_gain)
        return LearnedCoder(codec, gain), {"gain_at_target": gain, "setting_at_target": codec.describe(gain)}

    facts = {"kind": "learned", "reported": codec.paper_results, "setting": codec.describe(codec.gain.item())}
    return Subject(facts, deployed, at_rate)


def _baseline(name: str, target_bpp: float, calibration: list[Rgb], rgbs: list[Rgb]) -> Subject:
    if name in LOSSLESS:
        exact = LOSSLESS[name]
        return Subject({"kind": "lossless", "version": exact.version, "settings": exact.settings}, exact, None)
    if name not in BASELINES:
        raise RatewrightError(f"unknown baseline {name!r}; known: {', '.join((*BASELINES, *LOSSLESS))}")
    classic = BASELINES[name]
    deployed = largest_quality(classic, calibration, target_bpp).quality

    known: dict[float, float] = {}

    def at_rate(bpp: float, _: float | None) -> tuple[Coder, dict[str, Any]]:
        quality = largest_quality(classic, rgbs, bpp, known=known).quality
        return AtQuality(classic, quality), {"quality": {"as_calibrated": deployed, "at_target": quality}}

    facts = {
        "kind": "baseline",
        "version": classic.version,
        "settings": classic.settings,
        "quality": {"as_calibrated": deployed, "at_target": None},
    }
    return Subject(facts, AtQuality(classic, deployed), at_rate)


def _rungs(subject: Subject, test_set: str, originals: Sequence[tuple[str, Rgb]]) -> dict[str, Any]:
    """Of a codec with settings instead of a quantiser step: the finest of each range, such as each bit depth."""
    coder = subject.as_calibrated
    if not isinstance(coder, LearnedCoder) or not coder.codec.operating_points:
        return {}
    points = []
    for operating_points in coder.codec.operating_points:
        point = summarise(measure(LearnedCoder(coder.codec, operating_points[-1]), originals)).model_dump()
        points.append({"setting": coder.codec.describe(operating_points[-1]), **point})
    return {"operating_points": {test_set: points}}


def _costs(subject: Subject) -> dict[str, Any]:
    from components.evaluation.complexity import kmac_per_px, parameters, peak_mb

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


def _csv(table: list[tuple[str, str, ImageResult]]) -> str:
    fields = COLUMNS.split(",")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(fields)
    for test_set, point, result in table:
        writer.writerow([test_set, point, *(getattr(result, field) for field in fields[2:])])
    return text.getvalue()


def _brief(points: dict[str, Any], test_set: str) -> str:
    said = []
    for label in ("as_calibrated", "at_target"):
        if (point := points[test_set][label]) is not None:
            quality = "lossless" if point["psnr_db"] is None else f"{point['psnr_db']:.2f} dB"
            said.append(f"{label.replace('_', ' ')} {quality} at {point['bpp']:.4f} bpp")
    return f"{test_set}: " + ", ".join(said)


if __name__ == "__main__":
    stage(run)
