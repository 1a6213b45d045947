"""The record of what is known not to agree in a run that results/ keeps, and the check against it.

A run whose files disagree is refused. One that was made before runs were compared may stay: its disagreements.json
names each disagreement with both values, and exactly these are excused.
"""

from pathlib import Path

from components.errors import RatewrightError
from pipeline.documents import read, write
from pipeline.documents.base import Document
from pipeline.reporting.archive import KeptRun
from pipeline.reporting.disagreements import COMMIT, MD5_OF, SHARDS, Disagreement, disagreements, in_one_line

RECORD = "disagreements.json"
"""File of a run's folder with what is known not to agree."""


class KnownDisagreements(Document):
    """results/<name>/disagreements.json: everything that is known not to agree in a run that stays."""

    disagreements: tuple[Disagreement, ...]
    """Each with both values."""


def known(folder: Path) -> list[Disagreement]:
    """The disagreements that the record in a run's folder excuses; none where there is no record."""
    path = folder / RECORD
    return list(read(KnownDisagreements, path).disagreements) if path.exists() else []


def record(run: KeptRun) -> None:
    """Write what disagrees in a run into its record, or remove the record if nothing does."""
    if found := disagreements(run):
        write(KnownDisagreements(disagreements=tuple(found)), run.folder / RECORD)
    else:
        (run.folder / RECORD).unlink(missing_ok=True)


def check(run: KeptRun) -> None:
    """Refuse a run whose disagreements are not exactly those of its record.

    Raises:
        RatewrightError: A value differs and is not in the record, or is there and does not differ; one line with both.
    """
    found, excused = disagreements(run), known(run.folder)
    if new := [each for each in found if each not in excused]:
        raise RatewrightError(f"{run.folder} is not of one run: {in_one_line(new)}")
    if gone := [each for each in excused if each not in found]:
        raise RatewrightError(f"{run.folder / RECORD} excuses what does not differ: {in_one_line(gone)}")


def sentence(run: KeptRun) -> str:
    """What the record of a run says, for readers of its figures; empty for a run whose files agree."""
    excused = known(run.folder)
    commits = dict.fromkeys(str(budget.git_commit)[:9] for budget in run.run.variants.values())
    parts = [f"its variants were trained on {len(commits)} commits ({', '.join(commits)})"] if len(commits) > 1 else []
    shards = dict.fromkeys(str(value)[:9] for each in excused if each.key == SHARDS for value in each.values.values())
    parts += [f"some of them on other shards of the same pictures ({', '.join(shards)})"] if shards else []
    parts += [str(each) for each in excused if each.key not in (COMMIT, SHARDS) and not each.key.startswith(MD5_OF)]
    if files := sum(each.key.startswith(MD5_OF) for each in excused):
        parts.append(f"{files} of its JSON documents have other bytes than dvc.lock says")
    return f"Known not to agree in this run: {'; '.join(parts)}." if parts else ""
