"""The model card of an exported codec, from what its checkpoint says of itself."""

from collections.abc import Mapping
from typing import Any

from .exported import Description

_FACTS = {
    "step": "steps of training",
    "patches": "patches seen",
    "lmbda": "lambda",
    "precision": "precision",
    "data_sha256": "data (SHA-256 of its manifest)",
    "git_commit": "code (git commit)",
    "start": "started from",
}


def model_card(description: Description, facts: Mapping[str, Any]) -> str:
    """Markdown: what the codec is, how to use it, how it was trained, its limits and its licence.

    Args:
        description: Of the exported folder.
        facts: The checkpoint's metadata.
    """
    known = [f"| {text} | {facts[key]} |" for key, text in _FACTS.items() if facts.get(key) is not None]
    files = [f"| {name} | {digest} |" for name, digest in description["files"].items()]
    return "\n".join(
        [
            f"# {description['codec']}, model {description['model_hash']}",
            "",
            "A learned codec for photographs, exported by Ratewright. It compresses 8-bit RGB pictures of any size to",
            f"the rate that it was calibrated to (gain {description['gain']:.4f}). Programs read it without torch:",
            "",
            "```python",
            "import ratewright",
            "",
            'codec = ratewright.load("this folder")',
            "stream = codec.compress(rgb)  # (H, W, 3) uint8",
            "rgb = codec.decompress(stream)",
            "```",
            "",
            "## Training",
            "",
            "| | |",
            "|---|---|",
            *known,
            "",
            "## Limits",
            "",
            "It is lossy, and trained for the least squared error: at low rates fine texture is smoothed. Decoded",
            "latents are the same on every machine; pixels may differ by one level of 255.",
            "",
            "## Licence",
            "",
            "The weights are under the Apache License, Version 2.0. The pictures that they were trained on have",
            "licences of their own, which the manifests of the data name.",
            "",
            "## Files",
            "",
            "| file | SHA-256 |",
            "|---|---|",
            *files,
            "",
        ]
    )
