"""`ratewright compress --effort`, with the flagship of results/."""

from pathlib import Path

import pytest

from components.arrays import Rgb
from components.codecs.deployed import DeployedCodec
from components.data.image_files import decode_rgb, encode_png
from pipeline.paths import CHECKOUT, Layout
from tests.pipeline.cli.conftest import Cli

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_file_and_a_folder_at_an_effort(cli: Cli, photograph: Rgb, tmp_path: Path) -> None:
    folder, streams, one, back = (tmp_path / name for name in ("folder", "all", "one.rw", "one.png"))
    folder.mkdir()
    (folder / "in.png").write_bytes(encode_png(photograph))
    cli.well("compress", str(folder / "in.png"), str(one), "--effort", "3")
    cli.well("compress", str(folder), str(streams), "--effort", "3")
    data = one.read_bytes()
    assert data == (streams / "in.rw").read_bytes()

    codec = DeployedCodec(Layout(CHECKOUT).archived_checkpoint("flagship"))
    assert data == codec.encode(photograph, effort=3)
    assert data != codec.encode(photograph)
    cli.well("decompress", str(one), str(back))
    assert (decode_rgb(back.read_bytes()) == codec.decode(data)).all()


def test_every_kept_winner_decodes_its_files(cli: Cli, photograph: Rgb, tmp_path: Path) -> None:
    checkpoints = Layout(CHECKOUT).archived_checkpoints
    assert len(checkpoints) >= 2
    stream, picture = tmp_path / "one.rw", tmp_path / "one.png"
    for checkpoint_of_run in checkpoints:
        codec = DeployedCodec(checkpoint_of_run)
        data = codec.encode(photograph)
        stream.write_bytes(data)
        cli.well("decompress", str(stream), str(picture))
        assert (decode_rgb(picture.read_bytes()) == codec.decode(data)).all()


def test_refusals(cli: Cli, tmp_path: Path) -> None:
    said = cli.refused("compress", "in.png", "o.rw", "--effort", "2", "--checkpoint", "c.safetensors")
    assert "in.png: codec 'wcae' has no efforts" in said
    unknown = cli("compress", "in.png", str(tmp_path / "o.rw"), "--effort", "10")
    assert unknown.returncode == 2
    assert not (tmp_path / "o.rw").exists()
