"""params.yaml of a run: the committed file with a request's parameters and the present revisions of its data sets."""

import io
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from components.errors import RatewrightError
from pipeline.config import params
from pipeline.config.datasets import changed_revisions
from pipeline.config.profiles import profile_text
from pipeline.schedule.plan import Request

logger = logging.getLogger(__name__)


def requested_params(root: Path, committed: str, request: Request) -> str:
    """The text of params.yaml for a run; comments stay.

    Args:
        root: The checkout, for its profiles and manifests.
        committed: The text of params.yaml in the commit that the run starts from.
        request: The parameters that the run was asked for.

    Raises:
        RatewrightError: The request names an unknown profile or variant, the result is not valid, or a source
            does not answer of which no revision is known.
    """
    mirror = params.loads(committed).mirror
    text = committed
    if request.profile is not None:
        text = profile_text(root, request.profile, request.mirror or mirror)
    yaml = YAML()
    yaml.width = 120
    document = yaml.load(text)
    if request.mirror is not None:
        document["mirror"] = request.mirror
    if request.target_bpp is not None:
        document["target_bpp"] = request.target_bpp
    if request.variants is not None:
        _select_variants(document, request.variants)
    if request.training_steps is not None:
        _set_training_steps(document, request.training_steps)
    for name, revision in changed_revisions(root, params.parse(document, params.FILE), keep_known=True).items():
        logger.info(f"prepare: {name} changed at its source, revision {revision}")
        document["datasets"][name]["revision"] = revision
    written = io.StringIO()
    yaml.dump(document, written)
    return written.getvalue()


def _select_variants(document: dict[str, Any], names: Sequence[str]) -> None:
    """Remove every variant that no named one needs as its start, with its efforts and resources."""
    known = [*document["variants"], *document["fine_tuned"]]
    if unknown := [name for name in names if name not in known]:
        raise RatewrightError(f"no variant {', '.join(unknown)}; there are {', '.join(known)}")
    needed = {*names}
    for name, variant in reversed([*document["fine_tuned"].items()]):  # which start from variants above them
        if name in needed and (start := params.trained_variant(variant["start"])):
            needed.add(start)
    for name in {*known} - needed:
        for section in ("variants", "fine_tuned", "efforts", "resources"):
            document.get(section, {}).pop(name, None)


def _set_training_steps(document: dict[str, Any], steps: int) -> None:
    for variant in (*document["variants"].values(), *document["fine_tuned"].values()):
        variant["train"].pop("minutes", None)
        variant["train"]["steps"] = steps
