"""data/validation/<name>/: what the check of a training set, and of calibration and test beside it, found."""

from typing import Literal

from components.data.validation.findings import Finding, SamePictures, SetRole
from components.data.validation.statistics import Drift, SetStatistics
from pipeline.documents.base import Document, Section


class ValidatedSet(Section):
    """A data set that was checked."""

    role: SetRole
    """What it is for."""
    content: str
    """A sha256 over the names and contents of its pictures."""
    revision: str | None
    """Its revision in params.yaml; null where no scheduled run asked for it."""
    statistics: SetStatistics
    """Counts and quantiles."""
    drift: Drift | None
    """How it differs from the revision before; null where none was measured, or `drift` is off."""


class Verdict(Document):
    """verdict.json: everything that was found."""

    name: str
    """The training set, or the fine-tuned variant that is trained on it."""
    passed: bool
    """Whether no rule of action `fail` is broken."""
    sets: dict[str, ValidatedSet]
    """Data set -> its figures; the training set first."""
    findings: tuple[Finding, ...]
    """What breaks a rule, the gravest first."""
    leaks: tuple[SamePictures, ...]
    """Training pictures that show one of calibration or test."""
    duplicates: tuple[SamePictures, ...]
    """Other pictures that are there twice."""


class Passed(Document):
    """passed.json: its existence lets `shard` run. It says nothing that would let `shard` run anew."""

    name: str
    """The training set, or the fine-tuned variant."""
    passed: Literal[True] = True
    """No rule of action `fail` is broken."""
