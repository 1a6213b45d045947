"""Recall and false alarms of the leak check, on leaks made of real pictures.

Each held-out picture becomes a training picture: cropped to a share of its area, scaled, flipped, turned by quarters,
and saved as JPEG, all at once and at random. Recall is the share of these that the check names. False alarms are the
pairs that it names between the held-out pictures and the training pictures as they are, to be looked at.
Run: python -m benchmarks.leaks --held-out data/raw/kodak --training data/raw/cid22-train [--rounds 4]
"""

import io
import time
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
from PIL import Image

from benchmarks.common import command_line, console
from components.arrays import Rgb
from components.data.image_files import decode_rgb
from components.data.manifest import FetchedFile
from components.data.validation.duplicates import leaks, within
from components.data.validation.picture import Picture, measure_all
from components.storage.atomic import sha256_of
from components.storage.picture_names import PICTURE_SUFFIXES

AREAS = ((0.1, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1.0), (1.0, 1.0))
"""Shares of a picture's area that its crops keep: the recall of each range is told apart."""
SCALES, QUALITIES = (0.3, 1.5), (30, 95)


class Made(NamedTuple):
    """How a leak was made."""

    source: str
    area: float
    scale: float
    quality: int
    turns: int
    flipped: bool
    width: int
    height: int


def main() -> None:
    """Print both."""
    parser = command_line(__doc__)
    parser.add_argument("--held-out", type=Path, nargs="+", required=True, help="folders of held-out pictures")
    parser.add_argument("--training", type=Path, nargs="*", default=[], help="folders of training pictures")
    parser.add_argument("--rounds", type=int, default=1, help="leaks of each picture and range of areas")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    with TemporaryDirectory() as folder:
        cache, threads = Path(folder) / "cache", arguments.threads
        begun = time.perf_counter()
        held_out = [picture for each in arguments.held_out for picture in measured(each, cache, threads)]
        training = [picture for each in arguments.training for picture in measured(each, cache, threads)]
        measuring = time.perf_counter() - begun
        begun = time.perf_counter()
        false_alarms = leaks(training, held_out, threads=threads)
        console.print(
            f"{len(training)} training pictures against {len(held_out)}: {len(false_alarms)} leaks in "
            f"{time.perf_counter() - begun:.0f} s after {measuring:.0f} s of measuring"
        )
        for pair in false_alarms:
            console.print(f"  {training[pair.first].path} shows {held_out[pair.second].path} ({pair})")
        for name, pictures in (("training", training), ("held out", held_out)):
            for pair in within(pictures):
                console.print(f"  twice in {name}: {pictures[pair.first].path}, {pictures[pair.second].path} ({pair})")
        random = Random(arguments.seed)
        for bounds in AREAS:
            _recall(bounds, held_out, arguments.rounds, random, Path(folder) / "made", threads)


def measured(folder: Path, cache: Path, threads: int) -> list[Picture]:
    """The pictures of a folder."""
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURE_SUFFIXES)
    hashes = [sha256_of(path) for path in paths]
    files = [
        FetchedFile(name=path.name, source_name=path.name, sha256=found, source_sha256=found, width=1, height=1)
        for path, found in zip(paths, hashes, strict=True)
    ]
    return measure_all(folder, files, cache, threads=threads)


def make_leak(rgb: Rgb, area: float, random: Random) -> tuple[bytes, tuple[float, int, int, bool]]:
    """The file of a leak, and its scale, quality, quarter turns and flip."""
    height, width = rgb.shape[:2]
    stretch = np.exp(random.uniform(-0.2, 0.2)) if area < 1 else 1.0
    rows = min(height, round(height * np.sqrt(area) * stretch))
    columns = min(width, round(width * np.sqrt(area) / stretch))
    top, left = random.randint(0, height - rows), random.randint(0, width - columns)
    scale, quality = random.uniform(*SCALES), random.randint(*QUALITIES)
    turns, flipped = random.randint(0, 3), random.random() < 0.5
    picture = Image.fromarray(rgb[top : top + rows, left : left + columns])
    picture = picture.resize((round(columns * scale), round(rows * scale)), Image.Resampling.BICUBIC)
    if flipped:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    picture = Image.fromarray(np.ascontiguousarray(np.rot90(np.asarray(picture), turns)))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return file.getvalue(), (scale, quality, turns, flipped)


def _recall(
    bounds: tuple[float, float], held_out: list[Picture], rounds: int, random: Random, folder: Path, threads: int
) -> None:
    folder.mkdir(exist_ok=True)
    made: dict[str, Made] = {}
    for number, picture in enumerate(held_out):
        rgb = decode_rgb(picture.path.read_bytes())
        for turn in range(rounds):
            area = random.uniform(*bounds)
            content, how = make_leak(rgb, area, random)
            name = f"{bounds[0]}-{number:05d}-{turn}.jpg"
            (folder / name).write_bytes(content)
            with Image.open(io.BytesIO(content)) as opened:
                made[name] = Made(str(picture.path), area, *how, *opened.size)
    training = [picture for picture in measured(folder, folder / "cache", threads) if picture.name in made]
    found = {
        (training[pair.first].name, str(held_out[pair.second].path))
        for pair in leaks(training, held_out, threads=threads)
    }
    right = [(name, how.source) for name, how in made.items()]
    missed = [made[pair[0]] for pair in right if pair not in found]
    wrong = found - set(right)
    share = f"{bounds[0]:.0%}" if bounds[0] == bounds[1] else f"{bounds[0]:.0%} to {bounds[1]:.0%}"
    console.print(
        f"{share} of the area: {len(right) - len(missed)} of {len(right)} leaks found "
        f"({1 - len(missed) / len(right):.1%}), {len(wrong)} named beside them"
    )
    for each in missed:
        console.print(f"  missed: {each}")
    for pair in sorted(wrong):
        console.print(f"  also named: {pair}, made of {made[pair[0]].source}")


if __name__ == "__main__":
    main()
