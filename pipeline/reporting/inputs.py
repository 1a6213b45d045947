"""What the report reads: evaluations, calibrations, histories and the pictures kept by `evaluate`."""

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from components.arrays import Rgb
from components.errors import ImageError, RatewrightError
from components.storage.atomic import read_json
from pipeline.paths import Layout
from pipeline.reporting.page import Comparison, Version, side_by_side
from pipeline.reporting.rate_distortion import RdPoint

PICTURES = 3
"""How many test pictures are shown side by side."""
Record = Mapping[str, Any]


def document(path: Path) -> Any:
    """The JSON in `path`; raises RatewrightError if it is missing or broken."""
    try:
        return read_json(path)
    except FileNotFoundError as error:
        raise _missing(path) from error
    except json.JSONDecodeError as error:
        raise RatewrightError(f"{path} is not JSON: {error}") from error


def records(path: Path) -> list[Record]:
    """The JSON lines in `path`; raises RatewrightError if it is missing or broken."""
    try:
        return [json.loads(line) for line in path.read_text().splitlines()]
    except FileNotFoundError as error:
        raise _missing(path) from error
    except json.JSONDecodeError as error:
        raise RatewrightError(f"{path} is not JSON lines: {error}") from error


def rd_points(evaluations: Mapping[str, Record]) -> list[RdPoint]:
    """Every point of every lossy codec's evaluation, its curve's last, in the order of the leaderboard."""
    found = []
    for name, metrics in evaluations.items():
        if metrics["kind"] == "lossless":
            continue
        for test_set, points in metrics["test_sets"].items():
            labelled = [(label, points.get(label)) for label in ("as_calibrated", "at_target")]
            labelled += [("curve", point) for point in metrics["curve"].get(test_set, [])]
            found += [
                RdPoint(name, metrics["kind"], test_set, label, point["bpp"], point["psnr_db"], point.get("ms_ssim"))
                for label, point in labelled
                if point is not None
            ]
    return found


def comparisons(root: Path, evaluations: Mapping[str, Record], test_set: str) -> list[Comparison]:
    """The first few pictures that codecs kept a reconstruction of, in every lossy codec at the target."""
    return [side_by_side(*shown) for shown in decoded_pictures(root, evaluations, test_set)[:PICTURES]]


def decoded_pictures(
    root: Path, evaluations: Mapping[str, Record], test_set: str
) -> list[tuple[str, Rgb, list[Version]]]:
    """The pictures that codecs kept a reconstruction of: name, original, and every lossy codec's at the target."""
    kept: dict[str, list[Version]] = {}
    for name, metrics in evaluations.items():
        if metrics["kind"] == "lossless" or not metrics["test_sets"].get(test_set, {}).get("at_target"):
            continue
        folder = root / "evaluation" / name
        for row in _table(folder / "images.csv"):
            path = folder / "reconstructions" / test_set / f"{Path(row['image']).stem}.png"
            if (row["test_set"], row["point"]) == (test_set, "at_target") and path.is_file():
                psnr_db = float(row["psnr_db"]) if row["psnr_db"] else None
                version = Version(name, metrics["kind"], _pixels(path), float(row["bpp"]), psnr_db)
                kept.setdefault(row["image"], []).append(version)
    return [(image, picture_of(root, test_set, image), versions) for image, versions in kept.items()]


def prefix_curves(root: Path, evaluations: Mapping[str, Record], test_set: str) -> dict[str, Record]:
    """The curves over the first bytes of one picture's file, of the codecs that have one."""
    folders = {name: Layout(root).prefixes(name, test_set) for name in evaluations}
    return {name: document(folder / "curve.json") for name, folder in folders.items() if folder.is_dir()}


def latent_maps(root: Path, evaluations: Mapping[str, Record], test_set: str) -> dict[str, Record]:
    """What learned codecs tell of one picture: its name, and their maps."""
    paths = {name: Layout(root).maps(name, test_set) for name in evaluations}
    told = {name: document(path) for name, path in paths.items() if path.is_file()}
    return {name: found for name, found in told.items() if found["maps"]}


def picture_of(root: Path, test_set: str, image: str) -> Rgb:
    """A picture of the test set."""
    return _pixels(Layout(root).raw(test_set) / image)


def single_rates(root: Path, evaluations: Mapping[str, Record], test_set: str, image: str) -> list[RdPoint]:
    """What every lossy codec makes of one picture at the target."""
    return [
        RdPoint(name, metrics["kind"], test_set, "at_target", float(row["bpp"]), float(row["psnr_db"]), None)
        for name, metrics in evaluations.items()
        for row in _table(root / "evaluation" / name / "images.csv")
        if (row["test_set"], row["point"], row["image"]) == (test_set, "at_target", image) and row["psnr_db"]
    ]


def strip(root: Path, name: str, test_set: str, curve: Record) -> Comparison:
    """One picture growing with the bytes that have arrived."""
    folder = Layout(root).prefixes(name, test_set)
    versions = []
    for path in sorted(folder.glob("*.png"), key=lambda path: float(path.stem)):
        point = min(curve["points"], key=lambda point, bpp=float(path.stem): abs(point["bpp"] - bpp))  # type: ignore[misc]
        label = f"{point['bytes']:,} bytes"
        versions.append(Version(label, "learned", _pixels(path), point["bpp"], point["psnr_db"]))
    original = picture_of(root, test_set, curve["image"])
    return side_by_side(f"{name}: {curve['image']}", original, versions)


def _pixels(path: Path) -> Rgb:
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except FileNotFoundError as error:
        raise _missing(path) from error
    except OSError as error:
        raise ImageError(f"{path} cannot be decoded: {error}") from error


def _table(path: Path) -> list[dict[str, str]]:
    try:
        return list(csv.DictReader(path.read_text().splitlines()))
    except FileNotFoundError as error:
        raise _missing(path) from error


def _missing(path: Path) -> RatewrightError:
    return RatewrightError(f"{path} is missing: the stages before the report write it")
