"""A retraining's request (the parameters somebody asked for) and its plan (the commit and the stages it runs)."""

import re
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from components.errors import RatewrightError
from pipeline.schedule.git import RUNS


class _Message(BaseModel):
    """Data that one task or person hands to another as JSON."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read JSON. Raises RatewrightError: one line with every wrong key and why."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            faults = (f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
            raise RatewrightError(f"the run's {cls.__name__.lower()}: {'; '.join(faults)}") from error


class Request(_Message):
    """Parameters of one run that differ from the committed params.yaml; None leaves a parameter as it is."""

    profile: str | None = None
    """A file of profiles/ that replaces params.yaml."""
    mirror: str | None = None
    """A folder, or an http(s):// or s3:// prefix, in front of every data set's address."""
    variants: Annotated[list[str], Field(min_length=1)] | None = None
    """The codecs to train. The variants that fine-tuned ones start from are trained too."""
    target_bpp: Annotated[float, Field(gt=0)] | None = None
    """Target rate in bits per pixel."""
    training_steps: Annotated[int, Field(gt=0)] | None = None
    """Training steps of each codec."""

    @property
    def default_params(self) -> bool:
        """Whether the run uses the params as they are committed."""
        return not self.model_dump(exclude_none=True)


class Plan(_Message):
    """A prepared run. Every task of the run receives the plan."""

    run: str
    """The run's name in refs and folders."""
    branch: str
    """The branch that the run started from; it follows the run if the run used the default params."""
    base: str
    """The tip of the branch when the run was prepared."""
    commit: str
    """The commit that the run uses: `base`, or a commit on top of it with other params."""
    default_params: bool
    """Whether the run uses the params as they are committed."""
    stages: dict[str, list[str]]
    """The stage instances of this run, each with those whose outputs it reads."""

    @property
    def ref(self) -> str:
        """The ref that keeps `commit`."""
        return f"{RUNS}{self.run}"

    @property
    def tag(self) -> str:
        """The tag of the run's result."""
        return f"refs/tags/retrain/{self.run}"


def run_name(run_id: str) -> str:
    """A scheduler's run id as a name that git refs and file names allow."""
    return re.sub(r"[^A-Za-z0-9]+", "-", run_id).strip("-")
