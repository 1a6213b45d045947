import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from components.arrays import Rgb
from components.codecs import checkpoint
from components.codecs.base import Codec
from components.codecs.table import CODECS, build, codec_class
from components.codecs.tensors import to_tensor
from components.errors import CheckpointError, RatewrightError

pytestmark = pytest.mark.usefixtures("one_thread")
Make = Callable[..., Codec]


def refused(path: Path, codec: str | None = None) -> str:
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(path, codec=codec)
    said = str(caught.value)
    assert str(path) in said
    assert "\n" not in said
    return said


@pytest.mark.parametrize("name", CODECS)
def test_round_trip(name: str, make_codec: Make, tmp_path: Path) -> None:
    codec = make_codec(name, seed=5).train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    codec.gain.fill_(1.75)
    path = tmp_path / "new" / "folder" / "c.safetensors"
    checkpoint.save(codec, path, lmbda=0.01, step=300, git_commit=None, data_sha256="ab", note="µ\n")
    loaded, facts = checkpoint.load(path, codec=name)
    assert facts == {
        "codec": name,
        "hyperparameters": codec.hyperparameters,
        "lmbda": 0.01,
        "step": 300,
        "git_commit": None,
        "data_sha256": "ab",
        "note": "µ\n",
    }
    assert checkpoint.read_facts(path) == facts
    assert not loaded.training
    assert loaded.gain.item() == 1.75
    assert loaded.model_hash() == codec.model_hash()
    for key, value in codec.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value), key
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_the_same_content_is_the_same_file(make_codec: Make, tmp_path: Path) -> None:
    facts = {key: ["µ", key] for key in "abcdefgh"}
    paths = [tmp_path / f"{number}.safetensors" for number in range(4)]
    for path in paths:
        checkpoint.save(make_codec("wcae", seed=5), path, **facts)
    assert len({path.read_bytes() for path in paths}) == 1
    assert load_file(paths[0]).keys() == make_codec("wcae", seed=5).state_dict().keys()


def test_a_loaded_codec_reads_what_the_saved_one_wrote(make_codec: Make, tmp_path: Path) -> None:
    codec = make_codec("wcae")
    x = torch.rand(1, 3, 40, 50, generator=torch.Generator().manual_seed(0))
    checkpoint.save(codec, tmp_path / "c.safetensors")
    loaded, _ = checkpoint.load(tmp_path / "c.safetensors")
    assert torch.equal(loaded.decompress(codec.compress(x)), codec.decompress(codec.compress(x)))
    assert loaded.compress(x) == codec.compress(x)


def test_a_codec_loaded_in_inference_mode_works(make_codec: Make, tmp_path: Path) -> None:
    codec = make_codec("wcae")
    x = torch.rand(1, 3, 40, 50, generator=torch.Generator().manual_seed(0))
    checkpoint.save(codec, tmp_path / "c.safetensors")
    with torch.inference_mode():
        loaded, _ = checkpoint.load(tmp_path / "c.safetensors")
        assert loaded.compress(x) == codec.compress(x)


def test_it_is_plain_safetensors(make_codec: Make, tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    checkpoint.save(make_codec("wcae"), path, lmbda=0.5)
    with safe_open(path, "pt") as file:
        assert json.loads(file.metadata()["lmbda"]) == 0.5
        assert {"gain", "entropy.tables.frequencies", "entropy.typical.mean"} <= set(file.keys())


def test_another_codecs_checkpoint(make_codec: Make, tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    checkpoint.save(make_codec("nowcae"), path)
    assert "codec 'nowcae', not 'wcae'" in refused(path, codec="wcae")


@pytest.mark.parametrize("data", [b"", b"garbage", b"\x00" * 100, b"\xff" * 4000, b"PK\x03\x04" + bytes(500)])
def test_a_file_that_is_no_checkpoint(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    path.write_bytes(data)
    assert "not a readable checkpoint" in refused(path)


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    assert "not a readable checkpoint" in refused(tmp_path / "none.safetensors")
    assert "not a readable checkpoint" in refused(tmp_path)


def test_a_truncated_checkpoint(make_codec: Make, tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    checkpoint.save(make_codec("wcae"), path)
    whole = path.read_bytes()
    for length in (4, 300, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        refused(path)


def test_safetensors_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    for metadata in (None, {"format": "pt"}, {"codec": '"wcae"'}):
        save_file({"weight": torch.zeros(2)}, path, metadata)
        assert "not a Ratewright checkpoint" in refused(path)


@pytest.mark.parametrize("damage", ["shape", "missing", "extra"])
def test_weights_of_another_shape(damage: str, make_codec: Make, tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    checkpoint.save(make_codec("wcae"), path)
    state = load_file(path)
    if damage == "shape":
        state["entropy.typical.mean"] = torch.zeros(95)
    elif damage == "missing":
        del state["entropy.typical.mean"]
    else:
        state["more"] = torch.zeros(1)
    save_file(state, path, {"codec": '"wcae"', "hyperparameters": "{}"})
    said = refused(path)
    assert "do not fit codec 'wcae'" in said
    assert len(said) < 300 + len(str(path))


def test_a_codec_takes_the_weights_of_another_that_has_the_same(make_codec: Make, tmp_path: Path) -> None:
    class Renamed(codec_class("wcae")):  # type: ignore[misc]
        name = "renamed"

    path = tmp_path / "c.safetensors"
    first = make_codec("wcae", seed=1)
    checkpoint.save(first, path)
    renamed = Renamed()
    checkpoint.load_into(renamed, path)
    assert all(torch.equal(renamed.state_dict()[key], value) for key, value in first.state_dict().items())
    with pytest.raises(CheckpointError, match="the weights do not fit codec 'nowcae'") as caught:
        checkpoint.load_into(make_codec("nowcae"), path)
    assert "\n" not in str(caught.value)


def test_an_unknown_codec_is_named(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    save_file({"weight": torch.zeros(2)}, path, {"codec": '"vvc"', "hyperparameters": "{}"})
    with pytest.raises(RatewrightError, match="unknown codec 'vvc'"):
        checkpoint.load(path)


@pytest.mark.parametrize(
    ("codec", "hyperparameters"),
    [('"wcae"', '{"depth": 3}'), ('"wcae"', "[]"), ('"wcae"', "{"), ("[1]", "{}")],
)
def test_hostile_metadata_is_a_checkpoint_error(codec: str, hyperparameters: str, tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    save_file({"weight": torch.zeros(2)}, path, {"codec": codec, "hyperparameters": hyperparameters})
    refused(path)


def test_a_codec_with_further_parts_begins_as_the_one_without(
    tmp_path: Path, make_codec: Callable[..., Codec], photograph: Rgb
) -> None:
    plain, path, x = make_codec("haar_hyper"), tmp_path / "plain.safetensors", to_tensor(photograph[:128, :128])
    checkpoint.save(plain, path)
    grouped = build("haar_hyper", {**plain.hyperparameters, "groups": [8, 24]}).eval()
    with pytest.raises(CheckpointError, match="do not fit"):
        checkpoint.load_into(grouped, path)
    checkpoint.load_into(grouped, path, further_parts=True)
    with torch.inference_mode():
        assert torch.equal(grouped(x).bits, plain(x).bits)
        assert torch.equal(grouped(x).x_hat, plain(x).x_hat)
    checkpoint.save(grouped, path)
    with pytest.raises(CheckpointError, match=r"it has no entropy\.groups"):
        checkpoint.load_into(plain, path, further_parts=True)
