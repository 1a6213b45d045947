"""Inputs of the report: evaluations, calibrations, training histories, and the pictures that `evaluate` keeps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from components.arrays import Rgb
from components.errors import ImageError, RatewrightError
from components.evaluation.results import RatePoint
from components.training.callback import Validation
from pipeline.documents import (
    Calibration,
    Evaluation,
    LatentMaps,
    Leaderboard,
    PrefixCurve,
    read,
    read_lines,
)
from pipeline.documents.images import read_images
from pipeline.paths import Layout
from pipeline.reporting.comparison import Comparison, Version, side_by_side
from pipeline.reporting.rate_distortion import RdPoint

PICTURES = 3
"""Test pictures that are shown side by side, at the most."""

Evaluations = Mapping[str, Evaluation]
"""Codec -> its evaluation, in the order of the leaderboard."""


@dataclass(frozen=True)
class ReportInputs:
    """The JSON files that the report is made from.

    Attributes:
        root: The checkout.
        board: The leaderboard.
        evaluations: Codec -> its evaluation, best first, lossless codecs last.
        calibrations: Those of learned lossy codecs, best first.
        histories: Trained codec -> the validations of its training.
        prefix_curves: Progressive codec -> quality over the first bytes of one picture's file.
        latent_maps: Learned codec -> maps of one picture's latents.
    """

    root: Path
    board: Leaderboard
    evaluations: Evaluations
    calibrations: Sequence[Calibration]
    histories: Mapping[str, Sequence[Validation]]
    prefix_curves: Mapping[str, PrefixCurve]
    latent_maps: Mapping[str, LatentMaps]

    @property
    def learned(self) -> list[str]:
        """Learned lossy codecs, best first."""
        return [name for name, evaluation in self.evaluations.items() if evaluation.kind == "learned"]

    @property
    def learned_lossless(self) -> list[str]:
        """Learned lossless codecs, smallest first."""
        return _learned_lossless(self.evaluations)


def read_inputs(root: Path) -> ReportInputs:
    """Read the JSON files of a finished run. Raises RatewrightError if one is missing or wrong."""
    layout = Layout(root)
    board = read(Leaderboard, layout.leaderboard)
    names = board.names
    evaluations = {name: read(Evaluation, layout.metrics(name)) for name in names}
    learned = [name for name in names if evaluations[name].kind == "learned"]
    return ReportInputs(
        root=root,
        board=board,
        evaluations=evaluations,
        calibrations=[read(Calibration, layout.calibration(name)) for name in learned],
        histories={
            name: read_lines(Validation, layout.history(name)) for name in (*learned, *_learned_lossless(evaluations))
        },
        prefix_curves=_prefix_curves(layout, names, board.test_set),
        latent_maps=_latent_maps(layout, names, board.test_set),
    )


def rd_points(evaluations: Evaluations) -> list[RdPoint]:
    """Every rate that lossy codecs were measured at, with its quality, in the order of the leaderboard.

    A codec's points at the target and as calibrated come first on each set, those of its curve last.
    """
    found = []
    for name, evaluation in evaluations.items():
        if evaluation.kind == "lossless":
            continue
        for test_set, results in evaluation.test_sets.items():
            identity = name, evaluation.kind, test_set
            found.append(RdPoint(*identity, "as_calibrated", *_figures(results.as_calibrated)))
            if results.at_target is not None:
                found.append(RdPoint(*identity, "at_target", *_figures(results.at_target)))
            curve = evaluation.curve.get(test_set, ())
            found += [RdPoint(*identity, "curve", each.bpp, each.psnr_db, None) for each in curve]
    return found


def comparisons(root: Path, evaluations: Evaluations, test_set: str) -> list[Comparison]:
    """The first pictures of which reconstructions are kept, as every lossy codec decodes them at the target rate."""
    return [side_by_side(*shown) for shown in decoded_pictures(root, evaluations, test_set)[:PICTURES]]


def decoded_pictures(root: Path, evaluations: Evaluations, test_set: str) -> list[tuple[str, Rgb, list[Version]]]:
    """The pictures of which reconstructions are kept.

    Args:
        root: The checkout.
        evaluations: The codecs; lossless ones and those without figures at the target are left out.
        test_set: The set whose pictures are shown.

    Returns:
        Of each picture its file name, the original, and what each codec decodes at the target rate.
    """
    kept: dict[str, list[Version]] = {}
    for name, evaluation in evaluations.items():
        results = evaluation.test_sets.get(test_set)
        if evaluation.kind == "lossless" or results is None or results.at_target is None:
            continue
        folder = Layout(root).evaluation(name)
        for row in read_images(folder / "images.csv"):
            path = folder / "reconstructions" / test_set / f"{Path(row.image).stem}.png"
            if (row.test_set, row.point) == (test_set, "at_target") and path.is_file():
                version = Version(name, evaluation.kind, _pixels(path), row.bpp, row.psnr_db)
                kept.setdefault(row.image, []).append(version)
    return [(image, original(root, test_set, image), versions) for image, versions in kept.items()]


def original(root: Path, test_set: str, image: str) -> Rgb:
    """A picture of a data set."""
    return _pixels(Layout(root).raw(test_set) / image)


def rates_of_picture(root: Path, evaluations: Evaluations, test_set: str, image: str) -> list[RdPoint]:
    """Rate and PSNR of one picture in every lossy codec at the target rate."""
    return [
        RdPoint(name, evaluation.kind, test_set, "at_target", row.bpp, row.psnr_db, None)
        for name, evaluation in evaluations.items()
        for row in read_images(Layout(root).evaluation(name) / "images.csv")
        if (row.test_set, row.point, row.image) == (test_set, "at_target", image) and row.psnr_db is not None
    ]


def prefix_comparison(root: Path, name: str, test_set: str, curve: PrefixCurve) -> Comparison:
    """One picture as it sharpens with the bytes that have arrived."""
    versions = []
    for path in sorted(Layout(root).prefixes(name, test_set).glob("*.png"), key=lambda path: float(path.stem)):
        bpp = float(path.stem)
        point = min(curve.points, key=lambda point, bpp=bpp: abs(point.bpp - bpp))  # type: ignore[misc]
        versions.append(Version(f"{point.bytes:,} bytes", "learned", _pixels(path), point.bpp, point.psnr_db))
    return side_by_side(f"{name}: {curve.image}", original(root, test_set, curve.image), versions)


def _figures(point: RatePoint) -> tuple[float, float | None, float | None]:
    return point.bpp, point.psnr_db, point.ms_ssim


def _learned_lossless(evaluations: Evaluations) -> list[str]:
    return [name for name, found in evaluations.items() if found.kind == "lossless" and found.parameters]


def _prefix_curves(layout: Layout, names: Sequence[str], test_set: str) -> dict[str, PrefixCurve]:
    folders = {name: layout.prefixes(name, test_set) for name in names}
    return {name: read(PrefixCurve, folder / "curve.json") for name, folder in folders.items() if folder.is_dir()}


def _latent_maps(layout: Layout, names: Sequence[str], test_set: str) -> dict[str, LatentMaps]:
    paths = {name: layout.maps(name, test_set) for name in names}
    found = {name: read(LatentMaps, path) for name, path in paths.items() if path.is_file()}
    return {name: maps for name, maps in found.items() if maps.maps}


def _pixels(path: Path) -> Rgb:
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except FileNotFoundError as error:
        raise RatewrightError(f"{path} is missing: `dvc repro` runs the stage that writes it") from error
    except OSError as error:
        raise ImageError(f"{path} cannot be decoded: {error}") from error
