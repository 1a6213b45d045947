"""A service whose folder is replaced, by codecs that load and by ones that do not."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from components.codecs.exported import INTEGERS
from tests.components.serving.running import Running, running, wait_for

HASHES = ("11" * 8, "22" * 8, "33" * 8)


@pytest.fixture
def folder(another: Callable[[str], Path], tmp_path: Path) -> Path:
    shutil.copytree(another(HASHES[0]), tmp_path / "codec")
    return tmp_path / "codec"


@pytest.fixture
def service(folder: Path) -> Iterator[Running]:
    with running(folder, "--poll=0.05") as service:
        yield service


def replace(folder: Path, by: Path) -> None:
    """Put a folder in the place of another one."""
    folder.rename(folder.with_name("former"))
    by.rename(folder)
    shutil.rmtree(folder.with_name("former"))


def test_a_new_version_takes_over_and_streams_of_the_one_before_decode(
    service: Running, folder: Path, another: Callable[[str], Path], picture: bytes
) -> None:
    streams = [service.compress(picture)]
    for model_hash in HASHES[1:]:
        replace(folder, another(model_hash))
        wait_for(lambda wanted=model_hash: service.health()["model"] == wanted, "new version")  # type: ignore[misc]
        streams.append(service.compress(picture))
    assert tuple(answer.headers["ratewright-model"] for answer in streams) == HASHES
    answers = [service.decompress(answer.content) for answer in streams]
    assert [answer.status_code for answer in answers] == [409, 200, 200]
    assert [answer.headers["ratewright-model"] for answer in answers[1:]] == list(HASHES[1:])
    versions = [answer.headers["ratewright-version"] for answer in streams]
    assert [answer.headers["ratewright-version"] for answer in answers[1:]] == versions[1:]
    assert service.health()["workers"] == 1


def test_a_version_that_does_not_load_leaves_the_old_one(
    service: Running, folder: Path, another: Callable[[str], Path], picture: bytes
) -> None:
    broken = another(HASHES[1])
    (broken / INTEGERS).write_bytes(b"broken")
    replace(folder, broken)
    wait_for(lambda: service.health()["problem"] is not None, "problem")
    health = service.health()
    assert (health["status"], health["model"]) == ("ready", HASHES[0])
    assert f"{INTEGERS} is not the file that was exported" in str(health["problem"])
    assert service.metric("ratewright_load_failures_total") >= 1
    assert f"{INTEGERS} is not the file" in service.log.read_text()
    assert service.compress(picture).headers["ratewright-model"] == HASHES[0]
    service.kill_worker()  # the new worker takes the old version too
    assert service.compress(picture).headers["ratewright-model"] == HASHES[0]
    replace(folder, another(HASHES[2]))
    wait_for(lambda: service.health()["model"] == HASHES[2], "new version")
    assert service.health()["problem"] is None
