"""A check that a built site loads nothing from other hosts: no font, script, style or picture."""

import re
from pathlib import Path

_LOADING = re.compile(
    r"""<(?:script|img|iframe|source|video|audio|embed)\b[^>]*?\bsrc=["']?((?:https?:)?//[^"'\s>]+)"""
    r"""|<link\b(?![^>]*rel=["']?canonical)[^>]*?\bhref=["']?((?:https?:)?//[^"'\s>]+)""",
    re.IGNORECASE,
)
_STYLE = re.compile(r"""url\(\s*["']?((?:https?:)?//[^"')]+)|@import\s+["']((?:https?:)?//[^"']+)""", re.IGNORECASE)


def external_resources(site: Path) -> list[str]:
    """Every address that a page or a style sheet of `site` would load from another host, with its file."""
    found = []
    for path in sorted(site.rglob("*")):
        if path.suffix in (".html", ".css"):
            text = path.read_text()
            patterns = (_STYLE,) if path.suffix == ".css" else (_LOADING, _STYLE)
            loaded = ["".join(groups) for pattern in patterns for groups in pattern.findall(text)]
            found += [f"{path.relative_to(site)}: {address}" for address in loaded]
    return found
