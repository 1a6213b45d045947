import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from components.arrays import Rgb
from components.codecs.base import Codec
from components.codecs.bitstream import byte_budget, parse
from components.codecs.coder import LearnedCoder
from components.codecs.export import export
from components.codecs.exported import DESCRIPTION, INTEGERS, ExportedCodec
from components.codecs.palette import PALETTE_SECTIONS
from components.codecs.table import CODECS, build
from components.codecs.tensors import to_tensor
from components.errors import BitstreamError, CheckpointError, RatewrightError

pytestmark = pytest.mark.usefixtures("one_thread")
EXPORTED = ["haar_hyper", "minnen", "gmm", "atc_progressive", "factorized", "wcae"]
OTHER_FORMS = ("mlp_lossless", "qae", "cnn_rnn_ae")
FLAGSHIP = {"fine": 24, "coarse": 48, "M": 48, "N": 24, "depths": (1, 1), "context": "hierarchical", "groups": (16, 32)}

Pair = tuple[Codec, Path]


@pytest.fixture(scope="module", params=EXPORTED)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """A codec that has seen one picture, and the folder it is exported to."""
    from tests.conftest import small_hyperparameters

    name = request.param
    torch.manual_seed(0)
    codec = build(name, FLAGSHIP if name == "haar_hyper" else small_hyperparameters(name))
    with torch.no_grad():
        codec.train()(to_tensor(photograph())[..., :256, :256])
    codec.trained_lmbda = 0.01
    codec.gain.fill_(0.8)
    codec.eval().tile = 128  # so that a picture of the test has several
    folder = tmp_path_factory.mktemp("exported")
    export(codec, folder)
    return codec, folder


def photograph() -> Rgb:
    from skimage import data

    rgb: Rgb = data.astronaut()
    return rgb


PICTURES: dict[str, Callable[[], Rgb]] = {
    "odd": lambda: photograph()[:77, :131],
    "tiles": lambda: photograph()[:300, :402],
    "one pixel": lambda: photograph()[:1, :1],
    "drawing": lambda: np.repeat(np.repeat(photograph()[:8, :8] // 128 * 255, 16, axis=0), 16, axis=1),
}


@pytest.mark.parametrize("picture", PICTURES)
def test_both_engines_read_the_same_latents_and_show_the_same_picture(pair: Pair, picture: str) -> None:
    codec, folder = pair
    rgb, torch_engine, thin = PICTURES[picture](), LearnedCoder(codec), ExportedCodec(folder, threads=1)
    assert (thin.name, thin.model_hash, thin.gain) == (codec.name, codec.model_hash(), codec.gain.item())
    streams = torch_engine.encode(rgb), thin.encode(rgb)
    if codec.name == "haar_hyper" and picture == "drawing":
        assert streams[0] == streams[1], "a palette"
    for stream in streams:
        pictures = torch_engine.decode(stream).astype(int), thin.decode(stream).astype(int)
        assert np.abs(pictures[0] - pictures[1]).max() <= 1
        assert pictures[0].shape == rgb.shape
        if not codec.palettes or len(parse(stream).sections) != PALETTE_SECTIONS:
            np.testing.assert_array_equal(codec.unpack(stream)[0], thin.latents(stream).astype(np.float32))


def test_a_stream_of_another_model_or_with_wrong_bytes_is_refused(pair: Pair, make_codec: Callable[..., Codec]) -> None:
    codec, folder = pair
    thin = ExportedCodec(folder)
    other = make_codec("nowcae")
    with pytest.raises(BitstreamError, match="'nowcae', not"):
        thin.decode(LearnedCoder(other).encode(photograph()[:64, :64]))
    stream = bytearray(thin.encode(photograph()[:64, :64]))
    stream[-3] ^= 1
    with pytest.raises(BitstreamError, match="checksum"):
        thin.decode(bytes(stream))
    with pytest.raises(RatewrightError, match="no gradients"):
        thin.encode(photograph()[:64, :64], effort=2)
    if not codec.progressive:
        with pytest.raises(RatewrightError, match="not progressive"):
            thin.encode(photograph()[:64, :64], bpp=0.1)
    assert codec.name == thin.name


def test_progressive_streams_are_cut_to_any_rate_by_both_engines(
    make_codec: Callable[..., Codec], tmp_path: Path
) -> None:
    codec, rgb = make_codec("atc_progressive"), photograph()[:96, :150]
    export(codec, tmp_path)
    thin = ExportedCodec(tmp_path, threads=1)
    assert thin.progressive
    for bpp in (0.1, 0.7, 12.0):
        budget = byte_budget(bpp, rgb.shape[:2])
        streams = thin.encode(rgb, bpp=bpp), LearnedCoder(codec, bpp=bpp).encode(rgb)
        if bpp < 10:
            assert len(streams[0]) == len(streams[1]) == budget
        else:
            assert max(map(len, streams)) < budget, "all trits that there are"
        for stream in streams:
            np.testing.assert_array_equal(codec.unpack(stream)[0], thin.latents(stream).astype(np.float32))
    shortest = parse(thin.encode(rgb)).truncate(60)
    np.testing.assert_array_equal(codec.unpack(shortest)[0], thin.latents(shortest).astype(np.float32))


def test_no_file_names_this_machine(pair: Pair) -> None:
    _, folder = pair
    here = str(Path(__file__).parents[3]).encode()
    assert not [
        path.name for path in folder.iterdir() if here in path.read_bytes() or b"site-packages" in path.read_bytes()
    ]


def test_a_folder_that_has_changed_is_refused(pair: Pair, tmp_path: Path) -> None:
    _, folder = pair
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    ExportedCodec(tmp_path)
    integers = bytearray((tmp_path / INTEGERS).read_bytes())
    integers[-1] ^= 1
    (tmp_path / INTEGERS).write_bytes(integers)
    with pytest.raises(CheckpointError, match=f"{INTEGERS} is not the file"):
        ExportedCodec(tmp_path)
    (tmp_path / INTEGERS).unlink()
    with pytest.raises(CheckpointError, match="not an exported codec"):
        ExportedCodec(tmp_path)
    description = json.loads((tmp_path / DESCRIPTION).read_text())
    (tmp_path / DESCRIPTION).write_text(json.dumps({**description, "format": 99}))
    with pytest.raises(CheckpointError, match="format 99"):
        ExportedCodec(tmp_path)


@pytest.mark.parametrize("name", sorted({*CODECS} - {*OTHER_FORMS}))
def test_every_other_codec_is_exported(name: str, make_codec: Callable[..., Codec], tmp_path: Path) -> None:
    codec = make_codec(name)
    export(codec, tmp_path)
    stream = ExportedCodec(tmp_path, threads=1).encode(photograph()[:100, :70])
    np.testing.assert_array_equal(codec.unpack(stream)[0], ExportedCodec(tmp_path).latents(stream).astype(np.float32))


def test_codecs_of_another_form_are_not_exported(make_codec: Callable[..., Codec], tmp_path: Path) -> None:
    for name in OTHER_FORMS:
        with pytest.raises(RatewrightError, match="cannot be exported"):
            export(make_codec(name), tmp_path / name)
        assert not (tmp_path / name).exists()


def test_decoding_imports_no_torch(pair: Pair, tmp_path: Path) -> None:
    _, folder = pair
    (tmp_path / "stream").write_bytes(ExportedCodec(folder).encode(photograph()[:64, :64]))
    program = (
        "import sys; from pathlib import Path; from components.codecs.exported import ExportedCodec;"
        "codec = ExportedCodec(Path(sys.argv[1]));"
        "rgb = codec.decode(Path(sys.argv[2]).read_bytes()); codec.encode(rgb);"
        "heavy = {'torch', 'dvc', 'mlflow', 'ray', 'pywt', 'cv2'} & set(sys.modules); assert not heavy, heavy"
    )
    root = Path(__file__).parents[3]
    subprocess.run([sys.executable, "-c", program, folder, tmp_path / "stream"], cwd=root, check=True)
