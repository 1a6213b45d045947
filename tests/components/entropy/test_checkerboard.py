import torch

from components.entropy.checkerboard import checkerboard_merge, checkerboard_split


def test_the_checkerboard_comes_apart_and_together() -> None:
    x = torch.arange(2 * 3 * 4 * 6.0).view(2, 3, 4, 6)
    first, second = checkerboard_split(x)
    assert first.shape == second.shape == (2, 3, 4, 3)
    assert torch.equal(checkerboard_merge(first, second), x)
    board = checkerboard_merge(torch.ones(1, 1, 4, 3), torch.zeros(1, 1, 4, 3))[0, 0]
    rows, columns = torch.meshgrid(torch.arange(4), torch.arange(6), indexing="ij")
    assert torch.equal(board, ((rows + columns) % 2 == 0).float())
