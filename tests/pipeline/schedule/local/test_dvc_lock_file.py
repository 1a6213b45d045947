"""The entries of dvc.lock as text. What stages of a run write is compared with DVC's own file in test_repro.py."""

from pathlib import Path

import pytest
from dvc.utils.serialize import dumps_yaml, parse_yaml, parse_yaml_for_update

from pipeline.paths import CHECKOUT
from pipeline.schedule.local.dvc_lock_file import Entries

LOCKS = sorted(CHECKOUT.glob("results/*/dvc.lock"))


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.parent.name)
def test_entries_of_a_real_file(path: Path) -> None:
    text = path.read_text()
    entries = Entries.parse(text)
    assert entries is not None
    whole = parse_yaml(text, str(path))["stages"]
    assert list(entries.texts) == list(whole)
    assert str(entries) == text
    name = list(whole)[-1]
    alone = entries.only(name, parse_yaml_for_update, str(path))
    assert alone == {"schema": "2.0", "stages": {name: whole[name]}}
    assert dumps_yaml(alone).endswith(entries.texts[name])
    assert entries.only("none", parse_yaml, str(path)) == {"schema": "2.0", "stages": {}}


def test_no_file_yet() -> None:
    entries = Entries.parse("")
    assert entries is not None
    assert entries.only("a", parse_yaml, "dvc.lock") == {}


STAGE = "  a:\n    cmd: echo\n"


@pytest.mark.parametrize(
    "text",
    [
        f"schema: '2.0'\nstages:\n{STAGE}datasets: []\n",
        f"stages:\n{STAGE}schema: '2.0'\n",
        "schema: '2.0'\nstages: {}\n",
        f"schema: '2.0'\nstages:\n{STAGE}  'a b':\n    cmd: echo\n",
        f"schema: '2.0'\nstages:\n{STAGE}  ? {'a' * 200}\n  : cmd: echo\n",
        "schema: '2.0'\nstages:\n  a:\n    cmd: |-\n      one\n\n      two\n",
        f"schema: '2.0'\nstages:\n{STAGE}  b: {{cmd: echo}}\n",
        "schema: '2",
    ],
)
def test_an_unusual_file_is_left_to_dvc(text: str) -> None:
    assert Entries.parse(text) is None
