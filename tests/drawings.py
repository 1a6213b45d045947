"""Pictures that were drawn, not photographed."""

from itertools import cycle, islice
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from components.arrays import Rgb

_TEXT = (Path(__file__).parents[1] / "LICENSE").read_text().split()


def page(height: int = 360, width: int = 520) -> Rgb:
    """A page of text in greys, with a coloured bar, (H, W, 3)."""
    image = Image.new("RGB", (width, height), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size=13)
    draw.rectangle((0, 0, width, 24), fill=(48, 96, 192))
    words = cycle(_TEXT)
    for top in range(32, height - 16, 18):
        draw.text((12, top), " ".join(islice(words, 16)), fill="black", font=font)
    return np.asarray(image).copy()
