"""The one table of codecs: name -> class, loaded when asked for."""

from importlib import import_module

from components.codecs.base import Codec
from components.errors import RatewrightError

CODECS = {
    "wcae": "Wcae",
    "nowcae": "NoWcae",
}


def codec_class(name: str) -> type[Codec]:
    """The class of codec `name`, from the module of that name in `variants`. Raises RatewrightError."""
    if name not in CODECS:
        raise RatewrightError(f"unknown codec {name!r}; known: {', '.join(CODECS)}")
    found: type[Codec] = getattr(import_module(f"components.codecs.variants.{name}"), CODECS[name])
    return found
