import hashlib
import io
import os
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from components.errors import CheckpointError, SourceError
from components.layers.resnet import ResNet
from components.training import pretrained
from components.training.pretrained import copy_weights, fetch_weights, read_weights
from tests.site import Site

pytestmark = pytest.mark.usefixtures("one_thread")
CONTENT = bytes(range(256)) * 300
SHA256 = hashlib.sha256(CONTENT).hexdigest()
OTHER = hashlib.sha256(b"other").hexdigest()


def small(seed: int = 0) -> ResNet:
    torch.manual_seed(seed)
    return ResNet((1, 1, 1, 1), width=4)


def published(seed: int = 0) -> dict[str, Tensor]:
    """The state of a trained classifier, with a last layer that the network lacks."""
    network = small(seed)
    network.bn1.running_mean.fill_(0.25)  # type: ignore[union-attr]
    network.bn1.num_batches_tracked.fill_(7)  # type: ignore[union-attr]
    return {**network.state_dict(), "fc.weight": torch.ones(10, 128), "fc.bias": torch.ones(10)}


def assert_holds(module: nn.Module, weights: dict[str, Tensor]) -> None:
    for key, value in module.state_dict().items():
        assert torch.equal(value, weights[key]), key


def refused(error: type[Exception], act: Any, *args: Any) -> str:
    with pytest.raises(error) as caught:
        act(*args)
    said = str(caught.value)
    assert "\n" not in said
    return said


def test_a_local_file_stays_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "some weights.pth"
    path.write_bytes(CONTENT)
    folder = tmp_path / "cache"
    assert fetch_weights(str(path), SHA256, folder) == path
    assert fetch_weights(path.as_uri(), SHA256.upper(), folder) == path
    monkeypatch.setenv("HOME", str(tmp_path))
    assert fetch_weights("~/some weights.pth", SHA256, folder) == path
    assert not folder.exists()


@pytest.mark.parametrize("prefix", ["", "file://"])
def test_a_local_file_that_is_missing_or_wrong(tmp_path: Path, prefix: str) -> None:
    path = tmp_path / "w.pth"
    assert "no such file" in refused(SourceError, fetch_weights, f"{prefix}{path}", SHA256, tmp_path / "cache")
    path.write_bytes(CONTENT)
    said = refused(SourceError, fetch_weights, f"{prefix}{path}", OTHER, tmp_path / "cache")
    assert all(part in said for part in (str(path), SHA256, OTHER))
    assert path.read_bytes() == CONTENT
    assert list(tmp_path.iterdir()) == [path]


def test_a_web_address_is_fetched_once(site: Site, tmp_path: Path) -> None:
    site.files["models/a%20b/net-1.0.pth"] = CONTENT
    location = f"{site.address}models/a%20b/net-1.0.pth"
    path = fetch_weights(location, SHA256, tmp_path / "new" / "cache")
    assert path == tmp_path / "new" / "cache" / f"{SHA256}.pth"
    assert path.read_bytes() == CONTENT
    assert fetch_weights(location, SHA256.upper(), tmp_path / "new" / "cache") == path
    assert len(site.requests) == 1
    path.write_bytes(CONTENT[:-1])
    fetch_weights(location, SHA256, tmp_path / "new" / "cache")
    assert path.read_bytes() == CONTENT
    assert len(site.requests) == 2
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("name", ["net.pth", "n%65t%20.pth"])
def test_names_are_quoted_once(site: Site, tmp_path: Path, name: str) -> None:
    site.files.update({"net.pth": CONTENT, "net%20.pth": CONTENT})
    assert fetch_weights(f"{site.address}{name}", SHA256, tmp_path).read_bytes() == CONTENT


def test_a_wrong_checksum_leaves_nothing(site: Site, tmp_path: Path) -> None:
    site.files["w.safetensors"] = CONTENT
    location = f"{site.address}w.safetensors"
    said = refused(SourceError, fetch_weights, location, OTHER, tmp_path)
    assert all(part in said for part in (location, SHA256, OTHER))
    assert list(tmp_path.iterdir()) == []
    assert "404" in refused(SourceError, fetch_weights, f"{site.address}none.pth", OTHER, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_survives_a_failed_fetch(site: Site, tmp_path: Path) -> None:
    """A file under this name with another content is replaced only by the right one."""
    site.files["w.pth"] = CONTENT
    present = tmp_path / f"{OTHER}.pth"
    present.write_bytes(b"cut short")
    refused(SourceError, fetch_weights, f"{site.address}w.pth", OTHER, tmp_path)
    assert present.read_bytes() == b"cut short"
    assert list(tmp_path.iterdir()) == [present]


def test_s3_keys_are_taken_as_they_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[str] = []

    class Fake:
        def __init__(self, location: str) -> None:
            asked.append(location)

        def download(self, name: str, path: Path) -> None:
            asked.append(name)
            path.write_bytes(CONTENT)

        def close(self) -> None:
            asked.append("closed")

    monkeypatch.setattr(pretrained, "open_source", Fake)
    path = fetch_weights("s3://bucket/a/b/x%20 y.safetensors", SHA256, tmp_path)
    assert path.name == f"{SHA256}.safetensors"
    assert asked == ["s3://bucket/a/b", "x%20 y.safetensors", "closed"]
    fetch_weights("s3://bucket/key", SHA256, tmp_path)
    assert asked[3:] == ["s3://bucket", "key", "closed"]


@pytest.mark.parametrize("location", ["https://host", "https://host/", "s3://bucket", "ftp://host/x.pth"])
def test_unsupported_locations_are_refused(location: str, tmp_path: Path) -> None:
    assert location.rpartition("/")[0] in refused(SourceError, fetch_weights, location, SHA256, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("sha256", ["", "../../x", SHA256[:7], SHA256 + "0", "g" * 64])
def test_an_invalid_hash_is_refused(site: Site, tmp_path: Path, sha256: str) -> None:
    assert "not a SHA-256" in refused(SourceError, fetch_weights, f"{site.address}w.pth", sha256, tmp_path)
    assert site.requests == []


@pytest.mark.parametrize("zipped", [True, False])
def test_a_published_file_fits(tmp_path: Path, zipped: bool) -> None:
    """torch.save has two formats; published files also hold parameters rather than plain tensors."""
    weights = published(seed=1)
    weights["conv1.weight"] = nn.Parameter(weights["conv1.weight"])
    path = tmp_path / "w.pth"
    torch.save(OrderedDict(weights), path, _use_new_zipfile_serialization=zipped)
    network = small()
    copy_weights(network, read_weights(path), str(path))
    assert_holds(network, weights)
    assert network.bn1.num_batches_tracked == 7
    assert network.conv1.weight.requires_grad


def test_a_safetensors_file_fits(tmp_path: Path, site: Site) -> None:
    weights = published(seed=1)
    save_file(weights, tmp_path / "w.safetensors")
    content = (tmp_path / "w.safetensors").read_bytes()
    site.files["w.safetensors"] = content
    location = f"{site.address}w.safetensors"
    path = fetch_weights(location, hashlib.sha256(content).hexdigest(), tmp_path / "cache")
    network = small()
    copy_weights(network, read_weights(path), location)
    assert_holds(network, weights)


class Hostile:
    """Runs a command when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_pickle_is_not_run(tmp_path: Path, zipped: bool) -> None:
    path, mark = tmp_path / "w.pth", tmp_path / "mark"
    torch.save({"conv1.weight": Hostile(mark)}, path, _use_new_zipfile_serialization=zipped)
    said = refused(CheckpointError, read_weights, path)
    assert str(path) in said
    assert "not run" in said
    assert "weights_only" not in said, "torch's advice is to run it"
    assert not mark.exists()


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
@pytest.mark.parametrize("part", [0, 0.001, 0.3, 0.9, 0.999])
def test_truncated_files(tmp_path: Path, kind: str, part: float) -> None:
    path = tmp_path / ("w.safetensors" if kind == "safetensors" else "w.pth")
    if kind == "safetensors":
        save_file(published(), path)
    else:
        torch.save(published(), path, _use_new_zipfile_serialization=kind == "zip")
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    assert str(path) in refused(CheckpointError, read_weights, path)


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_a_file_without_weights_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    assert str(path) in refused(CheckpointError, read_weights, path)
    for content in (b"<html>not found</html>\n" * 50, CONTENT, b"\x80\x02." + CONTENT):
        path.write_bytes(content)
        assert str(path) in refused(CheckpointError, read_weights, path)


@pytest.mark.parametrize(
    "content", [{"state_dict": {"w": torch.ones(1)}}, [torch.ones(1)], torch.ones(1), {1: torch.ones(1)}]
)
def test_a_file_without_a_flat_table_is_refused(tmp_path: Path, content: object) -> None:
    file = io.BytesIO()
    torch.save(content, file)
    path = tmp_path / "w.pth"
    path.write_bytes(file.getvalue())
    assert "flat table" in refused(CheckpointError, read_weights, path)


def test_missing_tensors() -> None:
    network, weights = small(), published(seed=1)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    del weights["layer2.0.bn1.running_var"], weights["layer3.0.conv1.weight"]
    said = refused(CheckpointError, copy_weights, network, weights, "some.pth")
    total = len(before)
    assert said == f"some.pth: 2 of {total} tensors do not fit, first layer2.0.bn1.running_var: missing"
    assert_holds(network, before)


def test_tensors_of_another_shape() -> None:
    network, weights = small(), published(seed=1)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    weights["conv1.weight"] = torch.ones(4, 1, 7, 7)
    said = refused(CheckpointError, copy_weights, network, weights, "some.pth")
    assert "some.pth: 1 of " in said
    assert "conv1.weight: shape (4, 1, 7, 7) instead of (4, 3, 7, 7)" in said
    assert_holds(network, before)


def test_counters_may_be_missing() -> None:
    network, weights = small(), published(seed=1)
    old = {key: value for key, value in weights.items() if not key.endswith("num_batches_tracked")}
    copy_weights(network, old, "some.pth")
    assert network.bn1.num_batches_tracked == 0
    assert_holds(network, {**network.state_dict(), **old})


def test_the_first_digits_of_a_hash_will_do(site: Site, tmp_path: Path) -> None:
    site.files["w.pth"] = CONTENT
    assert fetch_weights(f"{site.address}w.pth", SHA256[:8], tmp_path).read_bytes() == CONTENT
    assert fetch_weights(f"{site.address}w.pth", SHA256[:8], tmp_path).name == f"{SHA256[:8]}.pth"
    assert len(site.requests) == 1
    assert OTHER[:8] in refused(SourceError, fetch_weights, f"{site.address}w.pth", OTHER[:8], tmp_path)
