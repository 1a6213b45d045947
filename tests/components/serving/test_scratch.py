import os
import tempfile
from pathlib import Path

import pytest

from components.serving.scratch import PREFIX, scratch_folder


def test_folders_of_killed_services_are_removed_and_others_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left, young, another = (tmp_path / name for name in (f"{PREFIX}left", f"{PREFIX}young", "another"))
    for folder in (left, young, another):
        folder.mkdir()
        (folder / "file").write_text("")
    with scratch_folder() as used:
        for folder in (left, another, used):
            os.utime(folder, (0, 0))
        with scratch_folder() as mine:
            assert {*tmp_path.iterdir()} == {young, another, used, mine}
    assert {*tmp_path.iterdir()} == {young, another}
