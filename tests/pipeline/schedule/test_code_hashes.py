"""code.json: what changes the hash of which stage instance, and that dvc.yaml names the right one for each."""

import json
import shutil
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from dvc.dependency.param import ParamsDependency
from dvc.repo import Repo
from ruamel.yaml import YAML

from components.codecs.table import CODECS
from components.errors import RatewrightError
from pipeline.config.profiles import profile_names, profile_text
from pipeline.schedule import code_hashes
from pipeline.schedule.code_hashes import BASELINES, CODEC_STAGES, FILE, WITHOUT_EFFECT, StageCode
from pipeline.source_code import ROOTS, VARIANTS, SourceCode
from tests.small_profile import CHECKOUT

OWN = {f"{stage}.{codec}" for stage in CODEC_STAGES for codec in CODECS}
"""The instances that have a codec."""
ALL = {*OWN, BASELINES, *code_hashes.STAGES}


def flat(hashes: dict[str, Any]) -> dict[str, str]:
    """Instance, as dvc.yaml names it -> hash."""
    found: dict[str, str] = {}
    for stage, value in hashes.items():
        found |= (
            {f"{stage}.{codec}": one for codec, one in value.items()} if isinstance(value, dict) else {stage: value}
        )
    return found


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the sources."""
    for name in ROOTS:
        shutil.copytree(CHECKOUT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


@pytest.fixture(scope="module")
def code() -> StageCode:
    return StageCode(CHECKOUT)


def change(tree: Path, path: str, old: str, new: str) -> None:
    text = (tree / path).read_text()
    assert old in text
    (tree / path).write_text(text.replace(old, new, 1))


def add(tree: Path, path: str, statement: str = "NEW = 1") -> None:
    with (tree / path).open("a") as file:
        file.write(f"\n{statement}\n")


@cache
def before_of(code: StageCode) -> dict[str, str]:
    return flat(code.hashes())


def changed(tree: Path, code: StageCode) -> set[str]:
    """The instances whose hash in `tree` is not that of the checkout."""
    before, after = before_of(code), flat(StageCode(tree).hashes())
    assert before.keys() <= after.keys()
    return {name for name in before if before[name] != after[name]}


def with_module(code: StageCode, module: str) -> set[str]:
    """The instances that have a module in their closure."""
    each = {f"{stage}.{codec}": code.closure(stage, codec) for stage in CODEC_STAGES for codec in CODECS}
    one = {stage: code.closure(stage) for stage in code_hashes.STAGES} | {BASELINES: code.closure("evaluate")}
    return {name for name, closure in {**each, **one}.items() if module in closure}


def test_the_committed_file_is_current(code: StageCode) -> None:
    assert json.loads((CHECKOUT / FILE).read_text()) == code.hashes()
    assert flat(code.hashes()).keys() == ALL


def test_prose_changes_no_hash(tree: Path, code: StageCode) -> None:
    for path in [*tree.rglob("*.py")]:
        path.write_text(f"{path.read_text()}\n# A comment.\n")
    change(tree, "components/errors.py", '"""', '"""Also: ')
    add(tree, "components/training/loop.py", '"""What stands above, in other words."""')
    change(tree, "pipeline/stages/train.py", 'logger.info("%s: %d steps', 'logger.warning("%s: after %d steps')
    assert changed(tree, code) == set()


def test_shared_code_changes_what_uses_it_alone(tree: Path, code: StageCode) -> None:
    users = with_module(code, "components.entropy.hyperprior")
    assert {"train.minnen", "calibrate.minnen", "evaluate.minnen"} <= users <= OWN
    assert not {"train.wcae", "train.mlp_lossless"} & users
    add(tree, "components/entropy/hyperprior.py")
    assert changed(tree, code) == users


def test_training_code_changes_all_trainings_and_no_data(tree: Path, code: StageCode) -> None:
    add(tree, "components/training/loop.py")
    found = changed(tree, code)
    assert {f"train.{codec}" for codec in CODECS} <= found
    assert not {"fetch", "shard", "choose", "report", BASELINES} & found


def test_the_report_and_logs_change_no_training(tree: Path, code: StageCode) -> None:
    add(tree, "pipeline/reporting/plots.py")
    change(tree, "pipeline/terminal.py", "\nEXIT_MISTAKE = 2", "\nEXIT_MISTAKE = 3")
    add(tree, "pipeline/documents/__init__.py")
    assert changed(tree, code) == {"report"}


def test_a_codec_changes_its_own_instances_alone(tree: Path, code: StageCode) -> None:
    add(tree, "components/codecs/variants/wcae.py")
    assert changed(tree, code) == {"train.wcae", "calibrate.wcae", "evaluate.wcae"}


def test_a_new_codec_changes_no_other(tree: Path, code: StageCode) -> None:
    variants = tree / "components" / "codecs" / "variants"
    shutil.copy(variants / "wcae.py", variants / "mine.py")
    change(tree, "components/codecs/table.py", '    "wcae": "Wcae",', '    "wcae": "Wcae",\n    "mine": "Wcae",')
    assert changed(tree, code) == set()
    assert flat(StageCode(tree).hashes()).keys() - ALL == {f"{stage}.mine" for stage in CODEC_STAGES}
    change(tree, "components/codecs/table.py", '"mine": "Wcae"', '"mine": "NoWcae"')
    assert flat(StageCode(tree).hashes())["train.mine"] not in flat(code.hashes()).values()
    change(tree, "components/codecs/table.py", '"wcae": "Wcae"', '"wcae": "NoWcae"')
    assert changed(tree, code) == {"train.wcae", "calibrate.wcae", "evaluate.wcae"}


@pytest.mark.parametrize(
    "statement",
    [
        "import components.layers.vgg",
        "from components.layers import vgg",
        "from components.layers.vgg import Vgg19 as V",
        "from . import vgg",
        "from .vgg import Vgg19",
        "from ..layers.vgg import Vgg19",
        "def later():\n    from components.layers.vgg import Vgg19",
    ],
)
def test_a_new_import_in_a_helper_counts(statement: str, tree: Path, code: StageCode) -> None:
    assert "components.layers.vgg" not in code.closure("train", "wcae")
    assert "components.layers.branch" in code.closure("train", "wcae")
    add(tree, "components/layers/branch.py", statement)
    assert "components.layers.vgg" in SourceCode(tree).closure([f"{VARIANTS}.wcae"])


def test_a_package_hands_names_on(code: StageCode) -> None:
    """The module behind the name counts, not all that the package gathers."""
    closure = code.closure("calibrate", "wcae")
    assert "pipeline.documents.calibration" in closure
    assert "pipeline.documents.leaderboard" not in closure


def test_no_import_is_hidden(code: StageCode) -> None:
    """Three modules import by a computed name: the table, the runner of stages, and one that runs outside of here."""
    dynamic = ("import_module(", "__import__(", "runpy.")
    sources = {path: path.read_text() for name in ROOTS for path in (CHECKOUT / name).rglob("*.py")}
    found = {path.relative_to(CHECKOUT) for path, text in sources.items() if any(word in text for word in dynamic)}
    names = (
        "components/codecs/table.py",
        "pipeline/registry/pyfunc_model.py",
        "pipeline/schedule/local/warm_stages.py",
    )
    assert found == {*map(Path, names)}
    paths = (CHECKOUT / name.replace(".", "/") for name in WITHOUT_EFFECT)
    assert all(path.with_suffix(".py").exists() or (path / "__init__.py").exists() for path in paths)
    assert set(code.codecs) == CODECS.keys()


def instances(root: Path, text: str) -> Iterator[tuple[str, str, list[str]]]:
    """Name, command and parameters in code.json of every stage instance of dvc.yaml under a params.yaml."""
    shutil.copy(CHECKOUT / "dvc.yaml", root)
    (root / "params.yaml").write_text(text)
    with Repo(str(root), uninitialized=True) as repo:
        for stage in repo.index.stages:
            mine = [dep for dep in stage.deps if isinstance(dep, ParamsDependency) and Path(dep.fs_path).name == FILE]
            yield stage.name, stage.cmd, [name for dep in mine for name in dep.params]


@pytest.mark.parametrize("profile", profile_names(CHECKOUT))
def test_each_instance_depends_on_the_code_that_it_runs(profile: str, tmp_path: Path) -> None:
    text = profile_text(CHECKOUT, profile)
    params = YAML(typ="safe").load(text)
    codec_of = {name: each["codec"] for kind in ("variants", "fine_tuned") for name, each in params[kind].items()}
    for name, command, found in instances(tmp_path, text):
        module, *arguments = command.removeprefix("exec python -m pipeline.stages.").split()
        expected = module
        if module in CODEC_STAGES:
            codec = codec_of.get(arguments[0])
            expected = BASELINES if codec is None else f"{module}.{codec}"
        assert found == [expected], name
        assert found[0] in ALL


def test_the_check_fails_on_a_stale_file(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code_hashes, "CHECKOUT", tree)
    for mode in ("--write", "--check"):
        monkeypatch.setattr(sys, "argv", ["code_hashes", mode])
        code_hashes.main()
    add(tree, "components/layers/gdn.py")
    with pytest.raises(RatewrightError, match="is not current: run `make code`"):
        code_hashes.main()


def test_it_lists_what_counts(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["code_hashes", "train", "wcae"])
    code_hashes.main()
    assert "components.training.loop" in capsys.readouterr().out.splitlines()
    monkeypatch.setattr(sys, "argv", ["code_hashes", "train", "wrong"])
    with pytest.raises(RatewrightError, match="usage"):
        code_hashes.main()
