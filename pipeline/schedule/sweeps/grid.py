"""Points of a sweep: the values of some params, every combination of them or combinations drawn at random."""

import hashlib
import itertools
import json
import math
import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from components.errors import RatewrightError

Point = Mapping[str, Any]
"""The value of each swept key; a leading + in a key adds it to params.yaml."""

_RANGE = re.compile(r"([-+.\deE]+?)\.\.([-+.\deE]+)")
_DRAWS = 1000
"""Draws in a row without a new point after which there is none left."""
_LONGEST = 120
"""Characters of an experiment's name: file systems allow 255, and a lock has a suffix."""
_UNFIT = re.compile(r"[^A-Za-z0-9.+_-]+")
"""What the values in names do without: git allows no brackets in refs."""


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included: whole ones evenly, others evenly in their logarithm."""

    low: float
    high: float

    def draw(self, chance: random.Random) -> float:
        """A number of the range; one that is not whole has three significant digits, but for the ends."""
        if isinstance(self.low, int) and isinstance(self.high, int):
            return chance.randint(self.low, self.high)
        drawn = float(f"{math.exp(chance.uniform(math.log(self.low), math.log(self.high))):.3g}")
        return min(max(drawn, self.low), self.high)


@dataclass(frozen=True)
class Axis:
    """One key of params.yaml, and the values that it takes."""

    key: str
    values: tuple[Any, ...] | Range


def axis(setting: str) -> Axis:
    """Read a setting, such as `seed=1,2` or `variants.wcae.train.learning_rate=0.001..0.01`.

    Values are those of YAML: `[1, 2],[2, 2]` are two lists.

    Raises:
        RatewrightError: It is none of these forms, or has a value twice.
    """
    key, separator, text = setting.partition("=")
    if not separator or not all(part and part == part.strip() for part in key.removeprefix("+").split(".")):
        raise RatewrightError(f"-S {setting}: not of the form KEY=VALUE,VALUE")
    if found := _RANGE.fullmatch(text.strip()):
        return Axis(key, _range(setting, found[1], found[2]))
    try:
        values = YAML(typ="safe").load(f"[{text}]")
    except YAMLError as error:
        raise RatewrightError(f"-S {setting}: the values are not valid YAML") from error
    if not values:
        raise RatewrightError(f"-S {setting}: there is no value")
    if twice := [text for text, times in Counter(map(json.dumps, values)).items() if times > 1]:
        raise RatewrightError(f"-S {setting}: {twice[0]} is there twice")
    return Axis(key, tuple(values))


def grid(axes: Sequence[Axis]) -> list[Point]:
    """Every combination; the last axis moves fastest. Raises RatewrightError for a range."""
    columns = []
    for each in axes:
        if isinstance(each.values, Range):
            raise RatewrightError(f"-S {each.key}: a range is for --random")
        columns.append(each.values)
    keys = [each.key for each in axes]
    return [dict(zip(keys, values, strict=True)) for values in itertools.product(*columns)]


def draw(axes: Sequence[Axis], count: int, seed: int) -> list[Point]:
    """Different points at random. A larger count adds points and leaves the others as they are.

    Args:
        axes: Values and ranges of each key.
        count: The number of points; fewer come where there are no more.
        seed: Of the random numbers.
    """
    chance, points = random.Random(seed), dict[str, Point]()
    for _ in range(count):
        for _ in range(_DRAWS):
            point = {each.key: _drawn(each, chance) for each in axes}
            if points.setdefault(json.dumps(point), point) is point:
                break
        else:
            break
    return list(points.values())


def names(points: Sequence[Point], prefix: str | None) -> list[str]:
    """A name for each point, such as `wcae-learning_rate=0.001,steps=200`, that git takes for a ref.

    Args:
        points: Points with the same keys.
        prefix: The beginning of the names; None takes the second part of the keys where all begin with the same two.
    """
    paths = _paths(points[0])
    if prefix is None and len({tuple(path[:2]) for path in paths}) == 1 and all(len(path) > 2 for path in paths):
        prefix = paths[0][1]
    readable = [
        ",".join(f"{label}={_fitting(word(value))}" for label, value in zip(labels(point), point.values(), strict=True))
        for point in points
    ]
    times = Counter(readable)
    fitting = [
        name if times[name] == 1 and len(name) <= _LONGEST else f"{name[: _LONGEST - 9]}-{_hash(point)}"
        for name, point in zip(readable, points, strict=True)
    ]
    return [f"{prefix}-{name}" if prefix else name for name in fitting]


def labels(point: Point) -> list[str]:
    """The shortest end of each key that no other key has, such as `steps`."""
    paths = _paths(point)
    found = []
    for path in paths:
        lengths = range(1, len(path) + 1)
        alone = (size for size in lengths if sum(other[-size:] == path[-size:] for other in paths) == 1)
        found.append(".".join(path[-next(alone, len(path)) :]))
    return found


def _range(setting: str, low: str, high: str) -> Range:
    numbers = []
    for text in (low, high):
        try:
            numbers.append(int(text) if re.fullmatch(r"[+-]?\d+", text) else float(text))
        except ValueError as error:
            raise RatewrightError(f"-S {setting}: {text!r} is no number; a range is LOW..HIGH") from error
    found = Range(*numbers)
    if not -math.inf < found.low < found.high < math.inf:
        raise RatewrightError(f"-S {setting}: a range goes from a number to a larger one")
    if found.low <= 0 and not all(isinstance(number, int) for number in numbers):
        raise RatewrightError(f"-S {setting}: a range of other than whole numbers is above 0, as logarithms are drawn")
    return found


def _drawn(axis: Axis, chance: random.Random) -> Any:
    return axis.values.draw(chance) if isinstance(axis.values, Range) else chance.choice(axis.values)


def _paths(point: Point) -> list[list[str]]:
    return [key.removeprefix("+").split(".") for key in point]


def word(value: Any) -> str:
    """A value as params.yaml has it."""
    return value if isinstance(value, str) else json.dumps(value)


def _fitting(text: str) -> str:
    return _UNFIT.sub("_", text).strip("_.")


def _hash(point: Point) -> str:
    return hashlib.sha256(json.dumps(point).encode()).hexdigest()[:8]
