"""What README and the documentation name exists, and the commands that they mark as runnable run."""

import gzip
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from skimage import data
from typer.testing import CliRunner

from components.codecs.base import Codec
from components.data.image_files import encode_png
from docs import reference
from docs.build import ROOT_PAGES
from pipeline.cli import app
from pipeline.paths import CHECKOUT

PAGES = sorted(
    path
    for pattern in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "docs/**/*.md", "components/codecs/README.md")
    for path in CHECKOUT.glob(pattern)
)
GENERATED = {f"docs/{page}" for page in reference.PAGES}
MADE_BY_THE_USER = {"docker/.env"}
COMMANDS = set(getattr(typer.main.get_command(app), "commands", {}))
TARGETS = set(re.findall(r"^([a-z-]+):", (CHECKOUT / "Makefile").read_text(), re.MULTILINE))
TOP = {"components", "pipeline", "dags", "docs", "docker", "tests", "benchmarks", "profiles", ".ci"}
MODULES = (*TOP, "tests")

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_RUNNABLE = re.compile(r"^<!-- runnable -->\n```(sh|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def code(text: str) -> str:
    """The code of a page: the lines of fences, and each text between backticks as a line."""
    fences = [body for language, body in _FENCE.findall(text) if language != "python"]
    spans = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", _FENCE.sub("", text))]
    return "\n".join([*fences, *spans])


@pytest.fixture(params=PAGES, ids=lambda path: str(path.relative_to(CHECKOUT)))
def page(request: pytest.FixtureRequest) -> str:
    return str(request.param.read_text())


def test_make_targets_exist(page: str) -> None:
    assert set(re.findall(r"^make ([a-z][a-z-]+)", code(page), re.MULTILINE)) <= TARGETS


def test_subcommands_exist(page: str) -> None:
    assert set(re.findall(r"^ratewright ([a-z]+)", code(page), re.MULTILINE)) <= COMMANDS


def test_modules_exist(page: str) -> None:
    for module in re.findall(r"python -m ([\w.]+)", code(page)):
        path = CHECKOUT / module.replace(".", "/")
        if module.split(".")[0] in MODULES:
            assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), module


def test_files_exist(page: str) -> None:
    for path in re.findall(r"`([\w.-]+/[\w./-]+)`", page):
        if path.split("/")[0] in TOP and path not in GENERATED | MADE_BY_THE_USER:
            assert (CHECKOUT / path).exists(), path


def test_links_lead_to_files() -> None:
    for path in PAGES:
        for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", _FENCE.sub("", path.read_text())):
            found = (path.parent / target).resolve()
            assert found.exists() or str(found.relative_to(CHECKOUT)) in GENERATED, f"{path}: {target}"


def test_settings_exist(page: str) -> None:
    sources = "".join(
        path.read_text()
        for folder in ("dags", "pipeline", "components", "docker")
        for path in (CHECKOUT / folder).rglob("*.*")
        if path.suffix in (".py", ".yaml")
    )
    assert {name for name in re.findall(r"RATEWRIGHT_\w+", page) if name not in sources} == set()


def test_root_pages_of_the_site_exist() -> None:
    assert all((CHECKOUT / name).is_file() for name in ROOT_PAGES)


RUNNABLE = [(path, *found) for path in PAGES for found in _RUNNABLE.findall(path.read_text())]
SHELL = [(path, block) for path, language, block in RUNNABLE if language == "sh"]
VARIANTS = "components.codecs.variants"
"""The package that the code of the tutorial would lie in."""
PYTHON = [(path, block) for path, language, block in RUNNABLE if language == "python"]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what `ratewright` reads of a checkout, a photograph, and a trained progressive codec."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copyfile(CHECKOUT / name, folder / name)
    shutil.copytree(CHECKOUT / "profiles", folder / "profiles")
    (folder / "photo.png").write_bytes(encode_png(data.astronaut()[:256, :256]))
    model = folder / "models" / "atc_progressive" / "calibrated.safetensors"
    model.parent.mkdir(parents=True)
    model.write_bytes(gzip.decompress((CHECKOUT / "tests/golden/atc_progressive/model.safetensors.gz").read_bytes()))
    kept = folder / "results/flagship/champion.safetensors"
    kept.parent.mkdir(parents=True)
    kept.symlink_to(CHECKOUT / "results/flagship/champion.safetensors")
    return folder


def commands(block: str) -> Iterator[list[str]]:
    """The arguments of each `ratewright` of a block."""
    for line in block.splitlines():
        program, *arguments = shlex.split(line, comments=True)
        if program == "ratewright":
            yield arguments


@pytest.mark.parametrize(("path", "block"), SHELL, ids=lambda value: value.name if isinstance(value, Path) else "")
def test_runnable_commands_run(path: Path, block: str, checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(checkout)
    for arguments in commands(block):
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, f"{path}: ratewright {shlex.join(arguments)}: {result.output} {result.exception}"


@pytest.mark.parametrize(("path", "block"), PYTHON, ids=lambda value: value.name if isinstance(value, Path) else "")
def test_runnable_python_runs(path: Path, block: str, checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(checkout)
    exec(compile(block, str(path), "exec"), {"__name__": f"{VARIANTS}.example", "__package__": VARIANTS})


def test_the_codec_of_the_tutorial_compresses() -> None:
    (block,) = (block for path, block in PYTHON if path.name == "add-a-codec.md")
    names: dict[str, Any] = {"__name__": f"{VARIANTS}.mine", "__package__": VARIANTS}
    exec(block, names)
    codec = names["Mine"](N=8, M=8).eval()
    x = torch.rand(1, 3, 40, 30)
    assert codec.decompress(codec.compress(x)).shape == x.shape


def test_the_checklist_names_attributes_of_the_base_class() -> None:
    text = (CHECKOUT / "components/codecs/README.md").read_text()
    (step,) = re.findall(r"special cases: (.*?)\n\d", text, re.DOTALL)
    assert {name.split(" ")[0] for name in re.findall(r"`([^`]+)`", step)} <= {*dir(Codec), *Codec.__annotations__}


def test_runnable_commands_were_found() -> None:
    assert {arguments[0] for _, block in SHELL for arguments in commands(block)} >= {
        "compress",
        "decompress",
        "info",
        "truncate",
        "use",
    }


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_help(name: str) -> None:
    assert CliRunner().invoke(app, [name, "--help"]).exit_code == 0


SOURCES = ("components", "pipeline", "dags", "docker", "benchmarks", "profiles", "browser/src")
SUFFIXES = (".py", ".ts", ".yaml")


@pytest.fixture(scope="module")
def words() -> set[str]:
    """Every word of the sources and of the parameters."""
    files = [path for folder in SOURCES for path in (CHECKOUT / folder).rglob("*") if path.suffix in SUFFIXES]
    texts = [path.read_text() for path in (*files, CHECKOUT / "dvc.yaml", CHECKOUT / "results/real/params.yaml")]
    return set(re.findall(r"\w+", "\n".join(texts)))


def test_names_of_the_code_exist(page: str, words: set[str]) -> None:
    named = re.findall(r"`([\w.]+)`", _FENCE.sub("", page))
    last = {name.split(".")[-1] for name in named if not name.endswith((".json", ".png", ".rw"))}
    code_like = {name for name in last if re.fullmatch(r"[a-z]+(_[a-z0-9]+)+|([A-Z][a-z0-9]+){2,}", name)}
    assert code_like <= words
