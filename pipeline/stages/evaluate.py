"""The stage `evaluate`: a variant or a baseline measured on the test set into evaluation/<name>/."""

import csv
import io
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.codecs.classic import BASELINES, Classic
from components.codecs.quality_search import largest_quality
from components.errors import CalibrationError, RatewrightError
from components.evaluation import Coder, ImageResult, LearnedCoder, gain_at, measure, summarise
from components.files import write_bytes, write_json
from components.images.decode import encode_png
from components.prefixes import Prefix, jpeg2000_prefixes, prefixes, violations
from pipeline import params
from pipeline.console import console
from pipeline.entry import stage
from pipeline.layout import Layout
from pipeline.params import Params
from pipeline.pictures import content_hash, pictures

SHOWN = 4  # pictures of each test set whose reconstructions are kept
COLUMNS = "test_set,point,image,width,height,bytes,bpp,psnr_db,ssim,ms_ssim,encode_s,decode_s"

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
    as_deployed = measure(subject.as_calibrated, originals)
    points["as_calibrated"] = summarise(as_deployed)
    table += [("as_calibrated", result) for result in as_deployed]
    if subject.at_target is None:
        points["at_target_why"] = subject.at_target_why
    else:
        at_target = measure(subject.at_target, originals, keep)
        points["at_target"] = summarise(at_target)
        table += [("at_target", result) for result in at_target]

    _prefixes(subject, *originals[0], layout.prefixes(name, test_set))
    _maps(subject, *originals[0], layout.maps(name, test_set))
    metrics = {
        "name": name,
        "target_bpp": settings.target_bpp,
        **subject.facts,
        **_costs(subject),
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
    try:
        gain = gain_at(codec, rgbs, settings.target_bpp, variant.calibrate.tolerance)
    except CalibrationError as error:
        return Subject({"kind": "learned"}, deployed, None, str(error))
    return Subject({"kind": "learned", "gain_at_target": gain}, deployed, LearnedCoder(codec, gain), "")


def _baseline(name: str, settings: Params, layout: Layout, rgbs: list[Rgb]) -> Subject:
    if name not in BASELINES:
        raise RatewrightError(f"unknown baseline {name!r}; known: {', '.join(BASELINES)}")
    classic, target = BASELINES[name], settings.target_bpp
    calibration = [rgb for _, rgb in pictures(layout.raw(settings.data.calibration))]
    deployed = largest_quality(classic, calibration, target).quality
    facts = {
        "kind": "baseline",
        "version": classic.version,
        "settings": classic.settings,
        "quality": {"as_calibrated": deployed, "at_target": None},
    }
    coder = _AtQuality(classic, deployed)
    try:
        quality = largest_quality(classic, rgbs, target).quality
    except CalibrationError as error:
        return Subject(facts, coder, None, str(error))
    facts["quality"] = {"as_calibrated": deployed, "at_target": quality}
    return Subject(facts, coder, _AtQuality(classic, quality), "")


def _prefixes(subject: Subject, image: str, rgb: Rgb, folder: Path) -> None:
    """Of what can be cut: the curve of one picture's first bytes, and pictures along it."""

    def keep(bpp: float, decoded: Rgb) -> None:
        write_bytes(folder / f"{bpp:g}.png", encode_png(decoded))

    coder = subject.as_calibrated
    curve: list[Prefix] = []
    if isinstance(coder, LearnedCoder) and coder.codec.progressive:
        folder.mkdir(parents=True, exist_ok=True)
        curve = list(prefixes(coder.codec, rgb, keep))
    elif isinstance(coder, _AtQuality) and coder.classic.name == "jpeg2000":
        folder.mkdir(parents=True, exist_ok=True)
        curve = list(jpeg2000_prefixes(rgb))
    if curve:
        points = [asdict(point) for point in curve]
        write_json(folder / "curve.json", {"image": image, "violations": violations(curve), "points": points})


def _maps(subject: Subject, image: str, rgb: Rgb, path: Path) -> None:
    """Of a learned codec: what it tells of one picture, position by position."""
    from components.codecs.pictures import to_tensor

    if not isinstance(subject.as_calibrated, LearnedCoder):
        return
    codec = subject.as_calibrated.codec
    rows, columns = (-(-side // codec.latent_stride) for side in rgb.shape[:2])
    maps = {kind: found[:rows, :columns] for kind, found in codec.maps(to_tensor(rgb)).items()}
    maps["bits"] = maps["bits"] / codec.latent_stride**2
    rounded = {kind: np.round(found.double().numpy(), 5).tolist() for kind, found in maps.items()}
    write_json(path, {"image": image, "maps": rounded})


@dataclass(frozen=True)
class _AtQuality:
    """A classic codec at one quality as a Coder."""

    classic: Classic
    quality: float

    def encode(self, rgb: Rgb) -> bytes:
        return self.classic.encode(rgb, self.quality)

    def decode(self, data: bytes) -> Rgb:
        return self.classic.decode(data)


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
