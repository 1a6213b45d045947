from pathlib import Path

import pytest

from docs.figures import PAGES, figures, with_figures


def test_figures_are_of_the_named_codecs() -> None:
    heads, _, *rows = figures(["wcae", "jpeg"]).splitlines()
    assert [row.split("|")[1].strip() for row in rows] == ["`jpeg`", "`wcae`"]
    assert "kodak, PSNR, dB" in heads


@pytest.mark.parametrize("page", sorted(PAGES.glob("*.md")), ids=lambda path: path.stem)
def test_tables_are_those_of_todays_results(page: Path) -> None:
    assert page.read_text() == with_figures(page.read_text()), "run `make results` and commit it"


def test_a_page_without_markers_stays_as_it_is() -> None:
    assert with_figures("# A page\n") == "# A page\n"
