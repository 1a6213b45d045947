import pytest
import torch

from components.codecs.base import Codec
from components.codecs.table import build
from components.codecs.tensors import to_tensor
from components.errors import RatewrightError
from components.layers.wavelet import Wavelet

pytestmark = pytest.mark.usefixtures("one_thread")


def wcae(wavelet: str, seed: int = 0) -> Codec:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build("wcae", {"wavelet": wavelet}).eval()


def test_haar_is_not_among_the_hyperparameters() -> None:
    """So checkpoints from before the hyperparameter keep their hash."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        plain = build("wcae", {}).eval()
    for name in ("haar", "db1"):
        assert wcae(name).hyperparameters == {}
        assert wcae(name).model_hash() == plain.model_hash()
    other = wcae("bior4.4")
    assert other.hyperparameters == {"wavelet": "bior4.4"}
    assert other.model_hash() != plain.model_hash(), "equal weights, another picture"


@pytest.mark.parametrize("name", ["db2", "bior2.2", "bior4.4"])
@pytest.mark.parametrize("size", [(1, 1), (37, 71)])
def test_pictures_of_any_size_are_coded(name: str, size: tuple[int, int]) -> None:
    codec = wcae(name)
    x = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    (stream,) = codec.compress(x)
    again = build("wcae", codec.hyperparameters).eval()
    again.load_state_dict(codec.state_dict())
    assert torch.equal(again.decompress([stream]), codec.decompress([stream]))
    assert codec.decompress([stream]).shape == x.shape
    levels, low = [], codec.pad(x)
    wavelet = Wavelet(name)
    for _ in range(3):
        low, details = wavelet.dwt(low)
        levels.append(details)
    for details in reversed(levels):
        low = wavelet.idwt(low, details)
    torch.testing.assert_close(low[..., : size[0], : size[1]], x, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["bior4.4", "bior6.8"])
def test_tiles_show_no_seams(name: str) -> None:
    from skimage import data

    codec, tiled = wcae(name), wcae(name)
    tiled.tile = 128
    x = to_tensor(data.astronaut()[64:320, :320])
    torch.testing.assert_close(tiled.latents(x), codec.latents(x), rtol=0, atol=2e-3)
    (stream,) = codec.compress(x)
    torch.testing.assert_close(tiled.decompress([stream]), codec.decompress([stream]), rtol=0, atol=1 / 512)


def test_a_periodic_wavelet_takes_large_pictures_whole() -> None:
    """The left edge depends on the right one, which a tile of the picture would not hold."""
    codec = wcae("db2")
    x = torch.rand(1, 3, 32, 1728, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(codec.latents(x), codec.analyse(x))


@pytest.mark.parametrize("name", ["db2", "sym4", "bior4.4"])
def test_it_starts_with_a_picture_as_with_haar(name: str) -> None:
    """The branches start as a packet of the bands, whatever the wavelet that made them."""
    from skimage import data

    def psnr(codec: Codec) -> float:
        x = codec.pad(to_tensor(data.astronaut()))
        with torch.inference_mode():
            return float(-10 * (codec.synthesise(codec.analyse(x)) - x).square().mean().log10())

    assert psnr(wcae(name)) > psnr(wcae("haar")) - 0.5


def test_a_wrong_wavelet_is_one_clear_line() -> None:
    with pytest.raises(RatewrightError, match=r"^unknown wavelet 'mexh': [^\n]*$"):
        wcae("mexh")
