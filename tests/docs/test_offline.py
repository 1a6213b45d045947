from pathlib import Path

import pytest

from docs.offline import external_resources


@pytest.mark.parametrize(
    "page",
    [
        '<script src="https://cdn.example/a.js"></script>',
        '<img alt="" src=//cdn.example/a.png>',
        '<link rel="stylesheet" href="https://fonts.example/css">',
        "<style>body { background: url('https://cdn.example/a.png') }</style>",
    ],
)
def test_what_a_page_loads_from_elsewhere_is_found(page: str, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text(page)
    assert len(external_resources(tmp_path)) == 1


def test_what_a_style_sheet_loads_from_elsewhere_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.css").write_text('@import "https://fonts.example/css";')
    assert external_resources(tmp_path) == ["a.css: https://fonts.example/css"]


def test_links_and_own_files_are_no_resources(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text(
        '<a href="https://example.org">elsewhere</a><img src="a.png"><link rel="canonical" href="https://example.org">'
    )
    assert external_resources(tmp_path) == []
