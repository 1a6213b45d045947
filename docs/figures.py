"""Tables of the reference run's figures, for the pages that compare codecs with their papers."""

from pipeline.paths import CHECKOUT, Layout
from pipeline.reporting.results_pages import KeptRun, Row

RUN = "real"
"""The kept run that the pages show."""


def figures(codecs: list[str]) -> str:
    """A table of the named codecs in the reference run, on its test set and on its calibration set."""
    kept = KeptRun.read(Layout(CHECKOUT).results(RUN))
    first, second = kept.test_sets
    measures = ("bpp", "PSNR, dB", "SSIM", "MS-SSIM")
    heads = ["codec", *(f"{name}, {measure}" for name in (first, second) for measure in measures), "training steps"]
    lines = [heads, ["---"] * len(heads)]
    for row, other, budget in kept.rows():
        if row["name"] in codecs:
            lines.append([f"`{row['name']}`", *_cells(row), *_cells(other), f"{budget['step']:,}" if budget else ""])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _cells(row: Row) -> list[str]:
    specs = {"bpp": ".4f", "psnr_db": ".2f", "ssim": ".4f", "ms_ssim": ".4f"}
    return ["" if row.get(field) is None else format(row[field], spec) for field, spec in specs.items()]
