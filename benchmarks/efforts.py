"""Quality and seconds of each effort of an encoder at one rate. The peer is AVIF at its slowest (aom, speed 0).

Each row has the quantiser step at which the files of the pictures together have the rate. Run:

    OMP_NUM_THREADS=1 python -m benchmarks.efforts FOLDER [--every 6] [--side 256] [--efforts 0,1,2,3,4,5] \
        [--bpp 0.15] [--checkpoint results/flagship/champion.safetensors]

FOLDER holds pictures, such as data/raw/kodak after `ratewright use real` and `dvc repro fetch`; --every N takes each
N-th, and --side N the middle of at most N pixels a side. High efforts take hours: 200 s for a million pixels at effort
9, three times over.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path

from rich.table import Table

from benchmarks.common import command_line, console, middle
from components.arrays import Rgb
from components.codecs.baselines.lossy import BASELINES, avif_encode
from components.codecs.checkpoint import load
from components.codecs.coder import Coder
from components.data.image_files import decode_rgb
from components.evaluation.measure import measure
from components.evaluation.results import RatePoint, summarise
from components.rate.coder_at_rate import ClassicAtRate, LearnedAtRate
from components.storage.picture_names import PICTURE_SUFFIXES
from pipeline.paths import CHECKOUT, Layout

TOLERANCE = 0.01


def pictures_of(folder: Path, every: int, side: int) -> list[tuple[str, Rgb]]:
    """Name and pixels of each `every`-th picture of a folder, or of its middle of `side` pixels a side."""
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURE_SUFFIXES)
    return [(path.name, middle(decode_rgb(path.read_bytes()), side)) for path in paths[::every]]


def main() -> None:
    """Print a row for each effort, and one for AVIF."""
    parser = command_line(__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--side", type=int, default=1 << 30)
    parser.add_argument("--efforts", default="0,1,2,3,4,5")
    parser.add_argument("--bpp", type=float, default=0.15)
    parser.add_argument("--checkpoint", type=Path, default=Layout(CHECKOUT).archived_checkpoint("flagship"))
    options = parser.parse_args()
    pictures = pictures_of(options.folder, options.every, options.side)
    rgbs = [rgb for _, rgb in pictures]

    def figures(coder: Coder) -> RatePoint:
        return summarise(measure(coder, pictures))

    slowest = replace(BASELINES["avif"], encoder=partial(avif_encode, speed=0))
    avif = figures(ClassicAtRate(slowest, rgbs)(options.bpp))
    table = Table(title=f"{len(pictures)} pictures of {options.folder.name} at {options.bpp:g} bpp")
    for heading in ("effort", "bpp", "PSNR, dB", "encode, s/Mpx", "of AVIF's", "decode, s/Mpx"):
        table.add_column(heading, justify="right")

    def show(label: str, point: RatePoint) -> None:
        seconds = (point.encode_s_per_mpx, point.decode_s_per_mpx)
        row = (label, f"{point.bpp:.4f}", f"{point.psnr_db:.3f}", f"{seconds[0]:.2f}")
        table.add_row(*row, f"{seconds[0] / avif.encode_s_per_mpx:.2f}", f"{seconds[1]:.2f}")
        console.print(*row)

    codec, _ = load(options.checkpoint)
    for effort in map(int, options.efforts.split(",")):
        show(str(effort), figures(LearnedAtRate(codec, rgbs, TOLERANCE, effort)(options.bpp)))
    show("AVIF, speed 0", avif)
    console.print(table)


if __name__ == "__main__":
    main()
