import torch
from torch.nn import functional as F

from components.codecs.tiling import in_tiles


def test_what_looks_no_further_than_the_halo_is_the_same_in_tiles() -> None:
    x = torch.rand(1, 2, 70, 53, generator=torch.Generator().manual_seed(0))
    kernel = torch.rand(3, 2, 5, 5, generator=torch.Generator().manual_seed(1))
    sizes = []

    def smooth(piece: torch.Tensor) -> torch.Tensor:
        sizes.append(piece.shape[-2:])
        return F.conv2d(piece, kernel, padding=2)

    torch.testing.assert_close(in_tiles(smooth, x, 1, tile=16, halo=2), F.conv2d(x, kernel, padding=2))
    assert len(sizes) == 5 * 4
    assert max(max(size) for size in sizes) == 16 + 2 * 2


def test_tiles_of_a_transform_that_changes_the_size() -> None:
    x = torch.rand(1, 1, 64, 96, generator=torch.Generator().manual_seed(0))
    down = in_tiles(lambda piece: F.avg_pool2d(piece, 8), x, 1 / 8, tile=32, halo=8)
    torch.testing.assert_close(down, F.avg_pool2d(x, 8))
    up = in_tiles(lambda piece: F.interpolate(piece, scale_factor=8), down, 8, tile=4, halo=1)
    torch.testing.assert_close(up, F.interpolate(down, scale_factor=8))


def test_a_small_picture_is_one_tile() -> None:
    x = torch.rand(1, 1, 20, 20)
    sizes = []

    def seen(piece: torch.Tensor) -> torch.Tensor:
        sizes.append(piece.shape)
        return piece

    assert torch.equal(in_tiles(seen, x, 1, tile=16, halo=4), x)
    assert sizes == [x.shape]
