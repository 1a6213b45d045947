"""`make train-gpu`: pack the training of a variant into one file, for a machine with a GPU and without a checkout.

On the other machine `python3 NAME.pyz --minutes 25` trains, and leaves a folder to bring back. `make take-gpu` takes it
into this checkout.
"""

import logging
import subprocess
import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import ZIP_DEFLATED, ZipFile

from PIL import Image

from components.data.shard_subset import write_subset
from components.errors import RatewrightError
from components.storage.atomic import replacing
from components.training.job import TrainingJob
from pipeline.config import params
from pipeline.config.params import Params
from pipeline.config.profiles import profile_text
from pipeline.paths import CHECKOUT, Layout
from pipeline.portable import contents
from pipeline.portable.contents import PortableTraining, portable_fingerprint
from pipeline.portable.unpack import PACKAGES
from pipeline.source_code import VARIANTS, SourceCode
from pipeline.stages._data_set import Pictures
from pipeline.stages.train import facts_of, job_of, start_of, with_rate_target
from pipeline.terminal import guarded

FLAGSHIP = "haar_hyper"
LARGE_PACKAGES = ("numpy", "opencv-python-headless")
"""Packages whose wheels are not packed: they would fill the file, and a machine with torch often has them."""

MARGIN = 256 * 1024
"""Bytes for the index of the shards, and for the headers of the zip."""

_PLATFORMS = ("manylinux1", "manylinux2014", *(f"manylinux_2_{minor}" for minor in (17, 24, 27, 28, 31, 34, 35)))

logger = logging.getLogger(__name__)


def pack(root: Path, wanted: Namespace) -> None:
    """Write the file, and say what it holds and what to do with it."""
    settings = params.load(root) if wanted.profile is None else params.loads(profile_text(root, wanted.profile))
    path = wanted.out or root / "work" / "train-gpu" / f"{wanted.name}.pyz"
    limit = round(1e6 * wanted.megabytes)
    with TemporaryDirectory() as name, replacing(path) as temporary:
        folder = Path(name)
        job = _write_training(folder, root, settings, wanted)
        _write_packages(folder, wanted.python)
        _zip(temporary, job.codec, folder)
        index = write_subset(
            job.shards,
            folder / contents.SHARDS,
            room=limit - temporary.stat().st_size - MARGIN,
            quality=None if wanted.lossless else wanted.quality,
            validation_patches=job.config.validation_patches,
            large_share=job.config.large_patches,
        )
        _add(temporary, folder, contents.SHARDS)
        size = temporary.stat().st_size
        if size > limit:
            raise RatewrightError(f"the file has {size} bytes, more than the {limit} allowed")
    kind = "lossless" if wanted.lossless else f"JPEG of quality {wanted.quality}"
    held = ", ".join(f"{name} {split.samples} of {split.images} pictures" for name, split in index.splits.items())
    logger.info("%s: %.1f MB; patches: %s; those that train are %s", path, size / 1e6, held, kind)
    logger.info("there: python3 %s --minutes 25", path.name)
    logger.info("here:  make take-gpu ARGS=%s-trained", wanted.name)


def _write_training(folder: Path, root: Path, settings: Params, wanted: Namespace) -> TrainingJob:
    """Write training.json and the files that it speaks of, apart from shards; returns the stage's training.

    Raises:
        RatewrightError: The training needs published weights, or files that the checkout lacks.
    """
    name, layout = wanted.name, Layout(root)
    variant, shards = settings.variant(name), layout.shards(settings.shards_of(name))
    if variant.train.weights:
        raise RatewrightError(f"{name} starts from published weights, which are not packed")
    if not (shards / "index.json").exists():
        use = f"`ratewright use {wanted.profile}` and " if wanted.profile else ""
        raise RatewrightError(f"no shards in {shards}: run {use}`dvc repro shard` first")
    start = start_of(variant, layout)
    job = job_of(name, settings, layout, start)
    facts = facts_of(root, name, job, start)
    if job.start is not None:
        (folder / contents.START).symlink_to(Path(job.start).resolve())
    originals = Pictures(layout.raw(settings.data.calibration), job.config.steer_images)
    job = with_rate_target(job, name, job.initial_codec()[0], settings, originals)
    target = job.rate_target
    (folder / contents.CROPS).mkdir()
    for number, rgb in enumerate(target.pictures if target else ()):
        Image.fromarray(rgb).save(folder / contents.CROPS / f"{number:04d}.webp", lossless=True)
    training = PortableTraining(
        name=name,
        codec=job.codec,
        hyperparameters=dict(job.hyperparameters),
        config=job.config,
        seed=job.seed,
        facts={**facts, "training": portable_fingerprint(job.fingerprint)},
        fine_tuned=job.start is not None,
        target_bpp=target.target_bpp if target else None,
        crops_scale=target.scale if target else 1.0,
        quality=None if wanted.lossless else wanted.quality,
    )
    (folder / contents.TRAINING).write_text(training.model_dump_json(indent=2))
    return job


def _write_packages(folder: Path, python: str | None) -> None:
    """Write requirements.txt, and the wheels for a version of Python if there is one. Raises RatewrightError."""
    lines = [f"{name}=={version(name)}" for name in PACKAGES.values()]
    (folder / contents.REQUIREMENTS).write_text("\n".join(lines) + "\n")
    if python is None:
        return
    small = [line for line in lines if line.partition("==")[0] not in LARGE_PACKAGES]
    platforms = [word for platform in _PLATFORMS for word in ("--platform", f"{platform}_x86_64")]
    where = ["--implementation", "cp", "--python-version", python, *platforms, "--dest", str(folder / contents.WHEELS)]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", *where, *small]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RatewrightError(f"no wheels for Python {python}: {' '.join(done.stderr.strip().splitlines()[-1:])}")


def _zip(path: Path, codec: str, folder: Path) -> None:
    """Write a new zip with the code that trains a codec and with the files in `folder`."""
    source = SourceCode(CHECKOUT)
    with ZipFile(path, "w", ZIP_DEFLATED) as archive:
        for module in source.closure(["pipeline.portable.train", f"{VARIANTS}.{codec}"]):
            file = source.paths[module]
            archive.write(file, file.relative_to(CHECKOUT))
        archive.write(source.paths["pipeline.portable.unpack"], "__main__.py")
    _add(path, folder, ".")


def _add(path: Path, folder: Path, under: str) -> None:
    """Add the files in a folder of `folder` to a zip."""
    with ZipFile(path, "a", ZIP_DEFLATED) as archive:
        for file in sorted(file for file in (folder / under).rglob("*") if file.is_file()):
            archive.write(file, file.relative_to(folder))


def options(arguments: list[str]) -> Namespace:
    """The options of a command line."""
    parser = ArgumentParser("make train-gpu", description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("name", nargs="?", default=FLAGSHIP, help=f"the variant; by default {FLAGSHIP}")
    add("--profile", help="of profiles/, whose shards are here; by default params.yaml")
    add("--megabytes", type=float, default=60.0, help="the most that the file may have, in 10^6 bytes; by default 60")
    add("--quality", type=int, default=90, choices=range(1, 101), metavar="Q", help="of the patches as JPEG, 1 to 100")
    add("--lossless", action="store_true", help="keep the pixels of the patches; a third as many fit")
    add("--python", metavar="3.12", help="pack wheels for this Python on x86-64 Linux, for a machine without network")
    add("--out", type=Path, help="the file; by default work/train-gpu/NAME.pyz")
    return parser.parse_args(arguments)


def main() -> None:
    """Pack as the command line says."""
    pack(Path.cwd(), options(sys.argv[1:]))


if __name__ == "__main__":
    guarded(main)
