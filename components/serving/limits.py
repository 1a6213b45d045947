"""What a service takes, from when on it refuses, and how long it waits."""

import os
from dataclasses import dataclass, field, fields

from ..errors import RatewrightError


def _number(default: float, text: str) -> float:
    number: float = field(default=default, metadata={"help": text})
    return number


def _count(default: int, text: str) -> int:
    count: int = field(default=default, metadata={"help": text})
    return count


@dataclass(frozen=True)
class Limits:
    """Limits of a service; `help_of` says what each is. Raises RatewrightError for one that is out of range."""

    workers: int = _count(0, "worker processes; 0 for one per core")
    queue: int = _count(32, "requests that may wait for a worker; one more is answered with 429")
    megapixels: float = _number(24.0, "largest picture, in millions of pixels; a larger one is answered with 413")
    megabytes: float = _number(64.0, "largest body of a request, in millions of bytes; a larger one gets 413")
    seconds: float = _number(60.0, "longest time for each: an upload, the wait for a worker, its work")
    memory: float = _number(3000.0, "memory that a worker may take for a picture, in millions of bytes")
    grace: float = _number(30.0, "seconds in which a service that is stopped finishes what waits")
    poll: float = _number(10.0, "seconds between two looks whether there is a newer version of the model")

    def __post_init__(self) -> None:
        least = {"workers": 0, "queue": 0}
        for each in fields(self):
            value, smallest = getattr(self, each.name), least.get(each.name)
            if value < smallest if smallest is not None else not 0 < value < float("inf"):
                raise RatewrightError(f"--{each.name} {value:g}: {each.metadata['help']}")

    @property
    def pixels(self) -> int:
        """Of the largest picture."""
        return int(self.megapixels * 1e6)

    @property
    def body_bytes(self) -> int:
        """Of the largest body."""
        return int(self.megabytes * 1e6)

    @property
    def memory_bytes(self) -> int:
        """That a worker may take for a picture."""
        return int(self.memory * 1e6)

    @property
    def processes(self) -> int:
        """The number of workers."""
        return self.workers or len(os.sched_getaffinity(0))


def help_of(name: str) -> str:
    """What a limit is."""
    (text,) = (each.metadata["help"] for each in fields(Limits) if each.name == name)
    return str(text)
