import io

import pytest
from rich.console import Console

from pipeline.cli.tables import lossless_table, lossy_table
from pipeline.documents import Leaderboard, read
from pipeline.paths import CHECKOUT, Layout


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_name_and_no_figure_of_a_leaderboard_is_cut(width: int) -> None:
    board = read(Leaderboard, Layout(CHECKOUT).results("real") / "leaderboard.json")
    out = io.StringIO()
    console = Console(file=out, width=width, soft_wrap=True)
    console.print(lossy_table(board))
    console.print(lossless_table(board))
    text = out.getvalue()
    assert "…" not in text
    for row in board.rows:
        (line,) = [line for line in text.splitlines() if line.split()[:1] == [row.name]]
        assert format(row.psnr_db, ".4g") in line.split()
