"""Finished runs that the repository keeps in results/<name>/: figures, machine, budgets, the winner's checkpoint.

`ratewright keep NAME` writes one from the run that the checkout holds; `pipeline.reporting.results_pages` draws its
tables and plots.
"""

import csv
import io
import os
import platform
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from matplotlib import rc_context
from matplotlib.figure import Figure

from components.arrays import Rgb
from components.errors import RatewrightError
from components.storage.atomic import write_bytes, write_json
from components.training.callback import Validation
from pipeline.config import params
from pipeline.config.params import Params
from pipeline.documents import Calibration, Evaluation, Leaderboard, RunRecord, read, read_lines, write, write_by_name
from pipeline.documents.run import Budget, Machine
from pipeline.paths import Layout
from pipeline.registry.runs import training_seconds
from pipeline.reporting.archive import CHAMPION, HISTORIES, KeptRun
from pipeline.reporting.comparison import DETAIL, Version, detail_corner
from pipeline.reporting.disagreements import disagreements, in_one_line
from pipeline.reporting.inputs import decoded_pictures
from pipeline.reporting.provenance import RECORD
from pipeline.reporting.style import DPI, STYLE, png

CLASSICS = ("jpeg2000", "webp", "jpeg")
"""Whose pictures are shown beside the winner's."""
PICTURES = 2
"""Of each set that are shown."""
TITLE = 24
"""Pixels above a picture."""
FACTS = ("step", "precision", "lmbda", "git_commit", "data_sha256", "start")
"""What of a checkpoint's facts says how it came to be."""


def keep(root: Path, name: str) -> Path:
    """Write results/<name>/ from the finished run in `root`: first beside it, then file by file in its place.

    Raises RatewrightError, and keeps nothing, if `root` lacks a run, and for one whose parts disagree.
    """
    settings, layout, out = params.load(root), Layout(root), Layout(root).results(name)
    if not layout.registry.is_file():
        raise RatewrightError(f"{root}: no finished run to keep; `dvc repro` makes one")
    out.parent.mkdir(exist_ok=True)
    with TemporaryDirectory(prefix=f".{name}.", dir=out.parent) as temporary:
        _write(settings, layout, Path(temporary))
        if found := disagreements(KeptRun.read(Path(temporary))):
            raise RatewrightError(f"{root} does not hold one run: {in_one_line(found)}")
        out.mkdir(exist_ok=True)
        for path in sorted(Path(temporary).iterdir()):
            path.chmod(0o644)
            path.replace(out / path.name)
    (out / RECORD).unlink(missing_ok=True)
    return out


def _write(settings: Params, layout: Layout, out: Path) -> None:
    """Write everything that is kept of the run into the folder `out`."""
    board = read(Leaderboard, layout.leaderboard)
    evaluations = {codec: read(Evaluation, layout.metrics(codec)) for codec in board.names}
    trained = [codec for codec in board.names if codec in settings.all_variants]
    write(board, out / "leaderboard.json")
    write_by_name(evaluations, out / "evaluations.json")
    write_by_name({codec: read(Calibration, layout.calibration(codec)) for codec in trained}, out / "calibrations.json")
    histories = {codec: read_lines(Validation, layout.history(codec)) for codec in trained}
    write_json(out / HISTORIES, {codec: [each.model_dump() for each in rows] for codec, rows in histories.items()})
    write(RunRecord(machine=_machine(), variants=_budgets(layout.root, settings, trained)), out / "run.json")
    write_bytes(out / "images.csv", _images(layout, board.names).encode())
    lock, parameters = layout.root / "dvc.lock", (layout.root / params.FILE).read_text()
    shutil.copyfile(lock, out / lock.name)
    write_bytes(out / params.FILE, re.sub("(?m)^mirror:.*$", "mirror: null", parameters).encode())
    if board.winner is not None:
        shutil.copyfile(layout.calibrated(board.winner), out / CHAMPION)
    for picture, figure in _pictures(layout, board, evaluations).items():
        write_bytes(out / picture, png(figure))


def _machine() -> Machine:
    import torch

    cpus = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    return Machine(
        processor=cpus[0] if cpus else platform.processor(),
        cores=os.cpu_count(),
        memory_gib=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        gpus=tuple(torch.cuda.get_device_name(each) for each in range(torch.cuda.device_count())),
        system=platform.platform(),
        python=platform.python_version(),
        torch=str(torch.__version__),
    )


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).is_file() else []


def _budgets(root: Path, settings: Params, names: list[str]) -> dict[str, Budget]:
    """What each variant was given: steps, patches seen, wall-clock seconds of training, and its facts."""
    from components.codecs.checkpoint import read_facts

    budgets = {}
    for name in names:
        facts = read_facts(Layout(root).trained(name))
        seen = facts["step"] * settings.variant(name).train.batch_size
        seconds = training_seconds(root, facts["training"])
        own = {key: facts[key] for key in FACTS}
        budgets[name] = Budget.model_validate({**own, "patches": seen, "training_s": seconds})
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


def _pictures(layout: Layout, board: Leaderboard, evaluations: Mapping[str, Evaluation]) -> dict[str, Figure]:
    """File name -> a detail of one picture of each set: the original, the winner and classics, all at the target."""
    codecs = [name for name in (board.winner, *CLASSICS) if name is not None and name in evaluations]
    drawn = {}
    for test_set in (board.test_set, board.calibration.test_set):
        shown = decoded_pictures(layout.root, {name: evaluations[name] for name in codecs}, test_set)
        for image, original, versions in shown[:PICTURES]:
            drawn[f"{test_set}_{Path(image).stem}.png"] = _detail(original, versions)
    return drawn


@rc_context(STYLE)
def _detail(original: Rgb, versions: Sequence[Version]) -> Figure:
    """The detail in which the versions differ most, side by side, a pixel for a pixel."""
    top, left = detail_corner(original, [version.pixels for version in versions])
    titles = ["original", *(f"{v.codec}  {v.bpp:.3f} bpp  {v.psnr_db:.2f} dB" for v in versions)]
    figure = Figure(figsize=(len(titles) * DETAIL / DPI, (DETAIL + TITLE) / DPI))
    for place, (title, pixels) in enumerate(zip(titles, [original, *(v.pixels for v in versions)], strict=True)):
        axes = figure.add_axes((place / len(titles), 0, 1 / len(titles), DETAIL / (DETAIL + TITLE)))
        axes.imshow(pixels[top : top + DETAIL, left : left + DETAIL], interpolation="none")
        axes.set_axis_off()
        axes.set_title(title, size=6, pad=3)
    return figure
