"""What the report reads of a run, written by hand: three lossy codecs, a lossless one and one picture."""

import csv
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data
from PIL import Image

from components.storage.atomic import read_json, write_json

KINDS = {"swift": "learned", "jpeg": "baseline", "plain": "learned", "packed": "lossless"}


NO_PSNR = "lossless: there is no error"


COLUMNS = [
    "test_set", "point", "image", "width", "height", "bytes", "bpp", "psnr_db", "ssim", "ms_ssim", "swd",
    "encode_s", "decode_s",
]  # fmt: skip


def point(bpp: float, psnr_db: float | None, **whys: str) -> dict[str, Any]:
    figures = {"bpp": bpp, "bpp_mean": bpp, "psnr_db": psnr_db, "ssim": 0.8, "ms_ssim": 0.95, "swd": 123.4}
    return {
        "images": 1,
        "pixels": 4096,
        "bytes": 77,
        **figures,
        "encode_s_per_mpx": 1,
        "decode_s_per_mpx": 2,
        **whys,
    }


def evaluation(root: Path, name: str, psnr_db: float) -> dict[str, Any]:
    """Write what `evaluate` leaves for one codec; returns its metrics."""
    kind, folder = KINDS[name], root / "evaluation" / name
    lossless = point(9.0, None, psnr_db_why=NO_PSNR)
    metrics: dict[str, Any] = {
        "name": name, "kind": kind, "target_bpp": 0.15,
        "parameters": 1234567 if kind == "learned" else None, "parameters_why": "no network <here>",
        "encoder_kmac_per_px": None, "decoder_kmac_per_px": None, "peak_mb": 10.5,
        "test_sets": {
            "kodak": {"as_calibrated": lossless, "at_target": None, "at_target_why": "no rate to choose"}
            if kind == "lossless"
            else {"as_calibrated": point(0.19, psnr_db + 1), "at_target": point(0.149, psnr_db)}
        },
        "test_set_sha256": {"kodak": "0" * 64},
        "curve": {"kodak": [{"bpp": bpp, "psnr_db": psnr_db + 20 * (bpp - 0.149)} for bpp in (0.09, 0.149, 0.24)]},
    }  # fmt: skip
    if kind == "baseline":
        metrics |= {
            "version": "Pillow 12.0",
            "settings": "optimised",
            "quality": {"as_calibrated": 7, "at_target": None},
        }
    write_json(folder / "metrics.json", metrics)
    with (folder / "images.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [COLUMNS, ["kodak", "at_target", "cat.png", 451, 300, 9, 0.1431, psnr_db + 0.07, "", "", "", 0.5, 0.5]]
        )
    picture = Image.fromarray(skimage.data.chelsea())
    kept = folder / "reconstructions" / "kodak" / "cat.png"
    kept.parent.mkdir(parents=True)
    picture.reduce(4).resize(picture.size).save(kept)
    return metrics


def write_run(tmp_path: Path) -> None:
    rows, lossless = [], []
    for psnr_db, name in zip((29.0, 27.0, 25.0, 0.0), KINDS, strict=True):
        metrics = evaluation(tmp_path, name, psnr_db)
        points = metrics["test_sets"]["kodak"]
        shown = points["at_target"] or points["as_calibrated"]
        figures = ("bpp", "psnr_db", "ssim", "ms_ssim", "swd", "encode_s_per_mpx", "decode_s_per_mpx")
        costs = ("parameters", "parameters_why", "encoder_kmac_per_px", "decoder_kmac_per_px", "peak_mb")
        row: dict[str, Any] = {"name": name, "kind": KINDS[name], **{cost: metrics[cost] for cost in costs}}
        if KINDS[name] == "lossless":
            row |= {figure: shown[figure] for figure in ("bpp", "encode_s_per_mpx", "decode_s_per_mpx")}
            more = {"bits_per_sample": 3.0, "share_of_png": None, "share_of_png_why": "png is not here"}
            lossless.append({**row, **more})
            continue
        row |= {figure: shown[figure] for figure in figures}
        row["bd_rate_percent"] = -12.3 if name == "swift" else None
        rows.append(row)
        if KINDS[name] == "learned":
            tries = [
                {"phase": phase, "lmbda": lmbda, "gain": 1.0, "bpp": bpp, "steps": 10}
                for phase, lmbda, bpp in [
                    ("training", 0.1, 0.3),
                    ("fine_tune", 0.05, 0.16),
                    ("gain_search", 0.05, 0.149),
                ]
            ]
            calibration = {
                "name": name, "target_bpp": 0.15, "tolerance": 0.02, "calibration_set": "clic",
                "rate_parameter": "lmbda", "setting": "gain 1.0000", "model_hash": "00",
                "lmbda": 0.05, "gain": 1.0, "bpp": 0.149, "steps": 10,
                "history": tries,
            }  # fmt: skip
            write_json(tmp_path / "models" / name / "calibration.json", calibration)
            steps = [
                {"step": step, "lmbda": 0.1, "val_loss": 2.0 / step, "val_psnr_db": 30.0,
                 "skipped": 0, "diverged": False,
                 "lr": 1e-4, "train_loss": 1, "val_bpp_estimated": 0.2,
                 "calibration_bpp": 0.2 if step == 2 else None}
                for step in (1, 2, 3)
            ]  # fmt: skip
            lines = "".join(json.dumps(step) + "\n" for step in steps)
            (tmp_path / "models" / name / "history.jsonl").write_text(lines)
    board = {
        "target_bpp": 0.15,
        "test_set": "kodak",
        "test_set_sha256": "0" * 64,
        "metric": "psnr_db",
        "rows": rows,
        "anchor": "jpeg2000",
        "calibration": {"test_set": "clic", "test_set_sha256": None, "rows": []},
        "lossless": lossless,
        "winner": "swift",
        "why": "2 dB above <jpeg>",
    }
    write_json(tmp_path / "leaderboard.json", board)
    original = tmp_path / "data" / "raw" / "kodak" / "cat.png"
    original.parent.mkdir(parents=True)
    Image.fromarray(skimage.data.chelsea()).save(original)


@contextmanager
def changed(path: Path) -> Iterator[dict[str, Any]]:
    """A JSON file's content, which is written back with its changes."""
    document = read_json(path)
    yield document
    write_json(path, document)


def make_progressive(tree: Path) -> None:
    """Make `swift` progressive, and the JPEG of this test too."""
    for name, worse in (("swift", 0), ("jpeg", 2)):
        folder = tree / "evaluation" / name / "reconstructions" / "kodak" / "prefixes"
        folder.mkdir()
        rates = [0.02, 0.05, 0.1, 0.2, 0.5]
        points = [{"bytes": int(1e4 * r), "bpp": r, "psnr_db": 20 + 10 * r, "ms_ssim": None} for r in rates]
        write_json(folder / "curve.json", {"image": "cat.png", "violations": worse, "points": points})
    picture = Image.fromarray(skimage.data.chelsea())
    for rate in ("0.02", "0.1", "0.5"):
        picture.save(tree / "evaluation" / "swift" / "reconstructions" / "kodak" / "prefixes" / f"{rate}.png")


def add_maps_and_settings(tree: Path) -> None:
    """`swift` tells where its bits went, `plain` also what was important, and has two bit depths."""
    bits = np.linspace(0, 1, 4 * 5).reshape(4, 5)
    for name, maps in (("swift", {"bits": bits}), ("plain", {"bits": bits, "importance": 1 - bits})):
        path = tree / "evaluation" / name / "reconstructions" / "kodak" / "maps.json"
        write_json(path, {"image": "cat.png", "maps": {kind: found.tolist() for kind, found in maps.items()}})
    path = tree / "evaluation" / "plain" / "metrics.json"
    points = [
        {"setting": "2 bits, 9 channels", **point(0.1, 20.0)},
        {"setting": "8 bits, 9 channels", **point(0.4, 22.0)},
    ]
    efforts = [{"effort": effort, "gain": 1.0, **point(0.15, psnr)} for effort, psnr in ((0, 19.1), (5, 23.4))]
    more: dict[str, Any] = {"efforts": {"kodak": efforts}}
    more |= {"reported": "31 dB <at> any rate", "setting": "2 bits, 7 channels", "operating_points": {"kodak": points}}
    write_json(path, {**read_json(path), **more})


def section_of(page: str, title: str) -> str:
    return page[page.index(f"<h2>{title}</h2>") :].partition("</section>")[0]
