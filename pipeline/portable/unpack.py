"""The program of a portable training's file: unpack the file, provide the packages that it needs, and train.

It needs Python and its standard library alone. Packages that the machine lacks are installed into a folder beside what
is unpacked, from the wheels in the file or by pip; those of the machine stay as they are, and come first.
"""

import importlib.util
import subprocess
import sys
from argparse import ArgumentParser
from pathlib import Path
from zipfile import ZipFile

PACKAGES = {
    "annotated_types": "annotated-types",
    "constriction": "constriction",
    "cv2": "opencv-python-headless",
    "fsspec": "fsspec",
    "lightning_fabric": "lightning-fabric",
    "lightning_utilities": "lightning-utilities",
    "numpy": "numpy",
    "packaging": "packaging",
    "pydantic": "pydantic",
    "pydantic_core": "pydantic-core",
    "pywt": "pywavelets",
    "safetensors": "safetensors",
    "tqdm": "tqdm",
    "typing_extensions": "typing-extensions",
    "typing_inspection": "typing-inspection",
}
"""Module -> its distribution: all that a training imports, torch and what comes with it apart."""


def main() -> None:
    """Unpack and train; arguments go to the training."""
    if sys.version_info < (3, 11):  # noqa: UP036 - other machines have what they have
        raise SystemExit("error: Python 3.11 or newer is needed")
    file = Path(__file__).resolve().parent
    parser = ArgumentParser(add_help=False)
    parser.add_argument("--work", type=Path, default=file.with_suffix(""))
    options, arguments = parser.parse_known_args()
    folder = options.work / "unpacked"
    with ZipFile(file) as archive:
        archive.extractall(folder)
    sys.path[0] = str(folder)  # which was the file
    if importlib.util.find_spec("torch") is None:
        raise SystemExit("error: this Python has no torch; install the build for this machine's GPU")
    provide_packages(folder, options.work / "site")
    from pipeline.portable.train import main as train

    train(folder, options.work, arguments)


def provide_packages(folder: Path, site: Path) -> None:
    """Install the packages that this Python lacks into the folder `site`, and let it import from there.

    Args:
        folder: Where the file is unpacked.
        site: The folder, which may hold them already.

    Raises:
        SystemExit: pip cannot install them; one line.
    """
    sys.path.append(str(site))
    missing = {PACKAGES[module] for module in PACKAGES if importlib.util.find_spec(module) is None}
    lines = [line for line in (folder / "requirements.txt").read_text().split() if line.partition("==")[0] in missing]
    wheels = folder / "wheels"
    packed = {path.name.partition("-")[0].lower().replace("_", "-") for path in wheels.glob("*.whl")}
    local = [line for line in lines if line.partition("==")[0] in packed]
    for wanted, source in (
        (local, ["--no-index", "--find-links", str(wheels)]),
        (sorted({*lines} - {*local}), []),
    ):
        if wanted:
            print(f"installing into {site}: {' '.join(wanted)}", flush=True)  # noqa: T201
            command = ["pip", "install", "--quiet", "--no-deps", "--target", str(site), *source, *wanted]
            done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, check=False)
            if done.returncode:
                reason = done.stderr.strip().splitlines()[-1:]
                raise SystemExit(f"error: pip cannot install {' '.join(wanted)}: {' '.join(reason)}")
    importlib.invalidate_caches()


if __name__ == "__main__":
    main()
