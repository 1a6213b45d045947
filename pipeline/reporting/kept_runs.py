"""Finished runs that the repository keeps, each in results/<name>/: figures, machine, budget, the winner's checkpoint.

ratewright keep real                       # results/real/ from the run that this checkout holds
python -m pipeline.reporting.kept_runs --write         # README's tables and the plots anew from results/
python -m pipeline.reporting.kept_runs --check         # whether README has them
"""

import csv
import io
import os
import platform
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

from components.arrays import Rgb
from components.errors import RatewrightError
from components.storage.atomic import read_json, write_bytes, write_json
from pipeline.config import params
from pipeline.config.params import Params
from pipeline.entry import console, guarded
from pipeline.paths import CHECKOUT, Layout
from pipeline.registry import mlflow_client as tracking
from pipeline.reporting.inputs import decoded_pictures, rd_points
from pipeline.reporting.page import DETAIL, Version, telling_corner
from pipeline.reporting.published import published
from pipeline.reporting.rate_distortion import rd_plot
from pipeline.reporting.style import DPI, STYLE, png

CLASSICS = ("jpeg2000", "webp", "jpeg")
"""Whose pictures are shown beside the winner's."""
PICTURES = 2
"""Of each set that are shown."""
TITLE = 24
"""Rgb above a picture."""
README = "README.md"
FACTS = ("step", "precision", "lmbda", "git_commit", "data_sha256", "start")
"""What of a checkpoint's facts says how it came to be."""


def keep(root: Path, name: str) -> Path:
    """Write results/<name>/ from the finished run in `root`, file by file. Raises RatewrightError if it lacks one."""
    settings, layout, out = params.load(root), Layout(root), Layout(root).results(name)
    if not layout.registry.is_file():
        raise RatewrightError(f"{root}: no finished run to keep; `dvc repro` makes one")
    board = read_json(layout.leaderboard)
    names = [row["name"] for row in (*board["rows"], *board["lossless"])]
    evaluations = {codec: read_json(layout.metrics(codec)) for codec in names}
    trained = [codec for codec in names if codec in settings.all_variants]
    write_json(out / "leaderboard.json", board)
    write_json(out / "evaluations.json", evaluations)
    write_json(out / "calibrations.json", {codec: read_json(layout.calibration(codec)) for codec in trained})
    write_json(out / "run.json", {"machine": _machine(), "variants": _budgets(root, settings, trained)})
    write_bytes(out / "images.csv", _images(layout, names).encode())
    shutil.copyfile(root / "dvc.lock", out / "dvc.lock")
    write_bytes(out / params.FILE, re.sub("(?m)^mirror:.*$", "mirror: null", (root / params.FILE).read_text()).encode())
    if board["winner"] is not None:
        shutil.copyfile(layout.calibrated(board["winner"]), layout.kept_model(name))
    for picture, figure in _pictures(layout, board, evaluations).items():
        write_bytes(out / picture, png(figure))
    return out


def _machine() -> dict[str, Any]:
    import torch

    cpus = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    return {
        "processor": cpus[0] if cpus else platform.processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "gpus": [torch.cuda.get_device_name(each) for each in range(torch.cuda.device_count())],
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).is_file() else []


def _budgets(root: Path, settings: Params, names: list[str]) -> dict[str, Any]:
    """What each variant was given: steps, patches seen, wall-clock seconds of training, and its facts."""
    from components.codecs.checkpoint import read_facts

    budgets = {}
    for name in names:
        facts = read_facts(Layout(root).trained(name))
        seen = facts["step"] * settings.variant(name).train.batch_size
        seconds = tracking.training_seconds(root, facts["training"])
        budgets[name] = {**{key: facts[key] for key in FACTS}, "patches": seen, "training_s": seconds}
    return budgets


def _images(layout: Layout, names: list[str]) -> str:
    """The per-image rows of all codecs, each with its codec first."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for number, name in enumerate(names):
        header, *rows = csv.reader((layout.evaluation(name) / "images.csv").read_text().splitlines())
        if not number:
            writer.writerow(["codec", *header])
        writer.writerows([name, *row] for row in rows)
    return text.getvalue()


def _pictures(layout: Layout, board: Mapping[str, Any], evaluations: Mapping[str, Any]) -> dict[str, Figure]:
    """File name -> a detail of one picture of each set: the original, the winner and classics, all at the target."""
    codecs = [name for name in (board["winner"], *CLASSICS) if name in evaluations]
    drawn = {}
    for test_set in (board["test_set"], board["calibration"]["test_set"]):
        shown = decoded_pictures(layout.root, {name: evaluations[name] for name in codecs}, test_set)
        for image, original, versions in shown[:PICTURES]:
            drawn[f"{test_set}_{Path(image).stem}.png"] = _detail(original, versions)
    return drawn


@rc_context(STYLE)
def _detail(original: Rgb, versions: Sequence[Version]) -> Figure:
    """The detail in which the versions differ most, side by side, a pixel for a pixel."""
    top, left = telling_corner(original, [version.pixels for version in versions])
    titles = ["original", *(f"{v.codec}  {v.bpp:.3f} bpp  {v.psnr_db:.2f} dB" for v in versions)]
    figure = Figure(figsize=(len(titles) * DETAIL / DPI, (DETAIL + TITLE) / DPI))
    for place, (title, pixels) in enumerate(zip(titles, [original, *(v.pixels for v in versions)], strict=True)):
        axes = figure.add_axes((place / len(titles), 0, 1 / len(titles), DETAIL / (DETAIL + TITLE)))
        axes.imshow(pixels[top : top + DETAIL, left : left + DETAIL], interpolation="none")
        axes.set_axis_off()
        axes.set_title(title, size=6, pad=3)
    return figure


def plots(kept: Path) -> dict[str, Figure]:
    """File name -> the plots that a kept run's figures give."""
    board, evaluations = read_json(kept / "leaderboard.json"), read_json(kept / "evaluations.json")
    points, drawn = rd_points(evaluations), {}
    for test_set in (board["test_set"], board["calibration"]["test_set"]):
        known = published(test_set)
        here = [point for point in points if point.test_set == test_set]
        for metric in ("psnr_db", "ms_ssim"):
            figure = rd_plot(here, known.curves if known else {}, metric, board["target_bpp"], board["winner"])
            drawn[f"{test_set}_{metric}.png"] = figure
    return drawn


def section(kept: Path) -> str:
    """The kept run in Markdown: what ran where, both sets at the target, costs, budget, the plot."""
    board, run = read_json(kept / "leaderboard.json"), read_json(kept / "run.json")
    other = {row["name"]: row for row in board["calibration"]["rows"]}
    sets = board["test_set"], board["calibration"]["test_set"]
    heads = ["codec"]
    for test_set in sets:
        heads += [f"{test_set}, bpp", "PSNR, dB", "MS-SSIM"]
    heads[4:4] = ["BD-rate, %"]
    heads += ["enc / dec, s/Mpx", "parameters", "steps", "minutes"]
    lines = [heads, ["---"] * len(heads)]
    for row in board["rows"]:
        budget = run["variants"].get(row["name"], {})
        first, second = row, other[row["name"]]
        cells = [f"**{row['name']}**" if row["name"] == board["winner"] else row["name"]]
        cells += [_shown(first, "bpp", ".4f"), _shown(first, "psnr_db", ".2f"), _shown(first, "ms_ssim", ".4f")]
        cells += [_shown(first, "bd_rate_percent", "+.1f")]
        cells += [_shown(second, "bpp", ".4f"), _shown(second, "psnr_db", ".2f"), _shown(second, "ms_ssim", ".4f")]
        cells += [f"{_shown(first, 'encode_s_per_mpx', '.2f')} / {_shown(first, 'decode_s_per_mpx', '.2f')}"]
        cells += [_shown(first, "parameters", ",")]
        cells += [_steps(budget), _minutes(budget)]
        lines.append(cells)
    table = "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
    machine, minutes = run["machine"], sum(each["training_s"] or 0 for each in run["variants"].values()) / 60
    where = f"{machine['cores']} cores of {machine['processor']}" + "".join(f", {gpu}" for gpu in machine["gpus"])
    about = f"{minutes:.0f} minutes of training in all; {where}, torch {machine['torch']}. {board['why']}."
    plot = f"![{sets[0]}: PSNR over rate](results/{kept.name}/{sets[0]}_psnr_db.png)\n"
    return f"{about}\n\n{table}\n{_lossless(board)}{plot}"


def _lossless(board: Mapping[str, Any]) -> str:
    sizes = ", ".join(f"{row['name']} {row['bpp']:.2f}" for row in board["lossless"])
    return f"Lossless on {board['test_set']}, bits per pixel: {sizes}.\n\n" if sizes else ""


def _steps(budget: Mapping[str, Any]) -> str:
    start = budget.get("start")
    return _shown(budget, "step", ",") + (f" after {start['variant']}" if start else "")


def _minutes(budget: Mapping[str, Any]) -> str:
    seconds = budget.get("training_s")
    return "" if seconds is None else f"{seconds / 60:.1f}"


def _shown(row: Mapping[str, Any], field: str, spec: str) -> str:
    value = row.get(field)
    return "" if value is None else format(value, spec)


def readme(root: Path) -> str:
    """README as it should be: between the markers of each kept run, its table and its plot."""
    text = (root / README).read_text()
    for kept in sorted((root / "results").glob("*/leaderboard.json")):
        name = kept.parent.name
        begin, end = f"<!-- results/{name} -->\n", f"<!-- end of results/{name} -->\n"
        before, found, rest = text.partition(begin)
        _, closed, after = rest.partition(end)
        if not (found and closed):
            raise RatewrightError(f"{root / README} has no place for results/{name}: {begin.strip()} and {end.strip()}")
        text = before + begin + "\n" + section(kept.parent) + "\n" + end + after
    return text


def main() -> None:
    """Write README's tables and the plots of the kept runs, or fail if README has others."""
    mode, path = sys.argv[1:], CHECKOUT / README
    if mode not in (["--write"], ["--check"]):
        raise RatewrightError("usage: python -m pipeline.reporting.kept_runs --write | --check")
    text = readme(CHECKOUT)
    if mode == ["--check"]:
        if path.read_text() != text:
            raise RatewrightError(
                f"{path} is not current: run `python -m pipeline.reporting.kept_runs --write` and commit it"
            )
        return
    write_bytes(path, text.encode())
    for kept in sorted((CHECKOUT / "results").glob("*/leaderboard.json")):
        for file, figure in plots(kept.parent).items():
            write_bytes(kept.parent / file, png(figure))
        console.print(f"results: {kept.parent}, {path}")


if __name__ == "__main__":
    guarded(main)
