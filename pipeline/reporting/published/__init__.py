"""Rate-distortion points that others published, one file per test set, each with its source."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from components.storage.atomic import read_json


@dataclass(frozen=True)
class Published:
    """Published curves of one test set."""

    source: str
    """Where the numbers come from, in a sentence."""
    curves: Mapping[str, Mapping[str, Sequence[float | None]]]
    """Codec -> `bpp`, `psnr_db`, `ms_ssim`: lists of one length, null where the source has no figure."""


def published(test_set: str) -> Published | None:
    """The curves published for `test_set`, matched by its name, or None."""
    path = Path(__file__).parent / f"{test_set}.json"
    if not path.is_file():
        return None
    content = read_json(path)
    return Published(content["source"], content["codecs"])
