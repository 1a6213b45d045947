"""When each stage last ran, for how long and in which slots: what later runs plan with."""

import json
from collections.abc import Sequence
from pathlib import Path

from components.storage.atomic import write_json


class StageTimes:
    """Times of stages, in a file that every stage's end renews."""

    def __init__(self, path: Path):
        """Read the file; one that does not exist or is damaged counts as empty."""
        self._path = path
        try:
            self._stages: dict[str, dict[str, object]] = dict(json.loads(path.read_text())["stages"])
        except (OSError, ValueError, KeyError, TypeError):
            self._stages = {}

    @property
    def seconds(self) -> dict[str, float]:
        """Name -> seconds of its last run."""
        return {name: float(str(each["seconds"])) for name, each in self._stages.items()}

    def record(self, name: str, started: float, seconds: float, slots: Sequence[int]) -> None:
        """Take note of a run.

        Args:
            name: The stage.
            started: The time of its start, in seconds since 1970.
            seconds: How long it took.
            slots: Numbers of the slots that it ran in.

        Raises:
            OSError: The file cannot be written.
        """
        self._stages[name] = {"started": round(started, 3), "seconds": round(seconds, 3), "slots": list(slots)}
        write_json(self._path, {"stages": self._stages})
