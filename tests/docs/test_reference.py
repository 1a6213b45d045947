from pathlib import Path

import typer

from components.codecs.table import CODECS
from docs import reference
from pipeline.cli import app
from pipeline.config.params import Params
from pipeline.documents import DOCUMENTS


def test_every_command_and_option_has_a_row() -> None:
    page = reference.command_line()
    for name, command in getattr(typer.main.get_command(app), "commands", {}).items():
        assert f"## ratewright {name}" in page
        assert all(f"`{option}`" in page for parameter in command.params for option in parameter.opts if "-" in option)


def test_every_parameter_has_a_row_and_a_meaning() -> None:
    page = reference.parameters()
    assert all(f"| `{name}` |" in page for name in Params.model_fields)
    assert "| `learning_rate` | float, > 0 |" in page
    rows = [row for row in page.split("## Hyperparameters")[0].splitlines() if row.startswith("| `")]
    assert rows
    assert [row for row in rows if row.endswith("|  |")] == []


def test_every_codec_has_its_hyperparameters() -> None:
    page = reference.parameters()
    assert all(f"### {name}\n" in page for name in CODECS)
    assert "| `gain_range` | `0.0` |" in page


def test_every_json_file_has_a_section() -> None:
    page = reference.json_files()
    assert all(f"## `{path}`" in page for path in DOCUMENTS)
    assert "`psnr_db_why`" not in page  # said once, for all


def test_every_photograph_has_its_licence_and_credit() -> None:
    page = reference.photograph_credits()
    assert page.count("](https://") == 284
    assert "| CC BY 2.0 | “IMG_4326” by Sterling College/flickr, CC BY 2.0 |" in page


def test_pages_are_written_below_a_folder(tmp_path: Path) -> None:
    reference.write(tmp_path)
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.md")} == set(reference.PAGES)
