"""The page that shows a verdict on data sets: findings, figures, drift, and the contact sheet."""

import base64
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from components.data.validation.statistics import FIGURES, QUANTILES
from pipeline.documents.validation import Verdict


def render_verdict(verdict: Verdict, sheet: bytes) -> str:
    """The HTML page, without scripts, and with the contact sheet inside.

    Args:
        verdict: What was found.
        sheet: The contact sheet, a PNG file.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    return environment.get_template("validation.html").render(
        verdict=verdict,
        figures=FIGURES,
        middle=QUANTILES.index(0.5),
        sheet=f"data:image/png;base64,{base64.b64encode(sheet).decode()}",
    )
