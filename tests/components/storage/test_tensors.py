import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from components.errors import RatewrightError
from components.storage.locations import fetched, storing
from components.storage.tensors import save_tensors
from tests.components.storage.conftest import names

ROOT = Path(__file__).parents[3]


def tensors(size: int = 100) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {"w": torch.rand(size, generator=generator), "step": torch.tensor(3.0)}


def test_tensors_and_metadata_come_back(place: str) -> None:
    location = f"{place}/x.safetensors"
    save_tensors(tensors(), location, {"b": "é", "a": "1"}, storing)
    with fetched(location) as path, safe_open(path, "pt") as file:
        assert file.metadata() == {"b": "é", "a": "1"}
        assert all(torch.equal(file.get_tensor(name), value) for name, value in tensors().items())
    assert names(place) == ["x.safetensors"]


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    facts = {f"fact {number}": str(number) for number in range(20)}
    for number in range(4):
        save_tensors(tensors(), tmp_path / str(number), dict(sorted(facts.items(), reverse=number % 2 == 1)))
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(RatewrightError, match=rf"^{tmp_path}/file/x: cannot be written: ") as caught:
        save_tensors(tensors(), tmp_path / "file" / "x", {})
    assert "\n" not in str(caught.value)


FULL = """
import resource, sys
from components.errors import RatewrightError
from components.storage.locations import storing
from components.storage.tensors import save_tensors
from tests.components.storage.test_tensors import tensors
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
try:
    save_tensors(tensors(100_000), sys.argv[1], {}, storing)
except RatewrightError as error:
    print(error)
"""


def test_a_full_disk_leaves_the_old_file(place: str, tmp_path: Path) -> None:
    location = f"{place}/x.safetensors"
    save_tensors(tensors(), location, {}, storing)
    with fetched(location) as path:
        before = path.read_bytes()
    (tmp_path / "tmp").mkdir()
    environment = {**os.environ, "TMPDIR": str(tmp_path / "tmp")}
    done = subprocess.run(
        [sys.executable, "-c", FULL, location], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert re.fullmatch(rf"{re.escape(location)}: cannot be written: .*File too large.*\n", done.stdout), done.stderr
    with fetched(location) as path:
        assert path.read_bytes() == before
    assert names(place) == ["x.safetensors"]
    assert list((tmp_path / "tmp").iterdir()) == []


def test_importing_costs_no_library() -> None:
    code = (
        "import sys, components.storage.atomic, components.storage.tensors, components.storage.locations;"
        "print(*({'torch', 'safetensors', 'numpy', 'boto3', 'botocore', 'httpx', 'tenacity'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
