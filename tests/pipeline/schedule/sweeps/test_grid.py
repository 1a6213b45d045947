"""Points of a sweep, from the settings of the command line."""

import math
import subprocess
from typing import Any

import pytest

from components.errors import RatewrightError
from pipeline.schedule.sweeps.grid import Axis, Range, axis, draw, grid, labels, names


@pytest.mark.parametrize(
    ("setting", "values"),
    [
        ("seed=1,2", (1, 2)),
        ("a.b=0.001, 1e-4,1E-2", (0.001, 1e-4, 1e-2)),
        ("a.b=[1, 2],[2,2]", ([1, 2], [2, 2])),
        ("a.b=soap,null,true", ("soap", None, True)),
        ("a.b={N: 3}", ({"N": 3},)),
        ("a.b='1..2'", ("1..2",)),
        ("a.b=2..8", Range(2, 8)),
        ("a.b=-2..8", Range(-2, 8)),
        ("a.b=1e-4..0.01", Range(1e-4, 0.01)),
        ("a.b=.5..2.", Range(0.5, 2.0)),
    ],
)
def test_values_are_those_of_yaml(setting: str, values: object) -> None:
    assert axis(setting) == Axis(setting.partition("=")[0], values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("setting", "why"),
    [
        ("seed", "not of the form"),
        ("=1", "not of the form"),
        ("a..b=1", "not of the form"),
        ("a=", "no value"),
        ("a=1,,2", "not valid YAML"),
        ("a=[1,2", "not valid YAML"),
        ("a=0.001,1e-3", "twice"),
        ("a=8..2", "to a larger one"),
        ("a=1..1e999", "to a larger one"),
        ("a=0.0..1.0", "above 0"),
        ("a=1..2..3", "no number"),
    ],
)
def test_a_wrong_setting_is_one_line(setting: str, why: str) -> None:
    with pytest.raises(RatewrightError, match=why):
        axis(setting)


def test_a_grid_has_every_combination() -> None:
    assert grid([axis("a=1,2"), axis("b=x,y")]) == [
        {"a": 1, "b": "x"},
        {"a": 1, "b": "y"},
        {"a": 2, "b": "x"},
        {"a": 2, "b": "y"},
    ]
    with pytest.raises(RatewrightError, match="--random"):
        grid([axis("a=1..2")])


def test_more_draws_keep_the_points_before() -> None:
    axes = [axis("a=1,2,3,4,5"), axis("b=0.001..0.1"), axis("c=2..9")]
    few, many = draw(axes, 3, seed=1), draw(axes, 8, seed=1)
    assert many[:3] == few
    assert draw(axes, 3, seed=2) != few
    assert len({str(point) for point in many}) == 8


def test_no_point_is_drawn_twice_and_none_is_missing() -> None:
    axes = [axis("a=1,2,3"), axis("b=2..3")]
    points = draw(axes, 20, seed=0)
    assert sorted((point["a"], point["b"]) for point in points) == [(a, b) for a in (1, 2, 3) for b in (2, 3)]


def test_a_range_is_even_in_the_logarithm() -> None:
    drawn = [point["a"] for point in draw([axis("a=0.0001..1.0")], 400, seed=0)]
    assert all(1e-4 <= value <= 1 and value == float(f"{value:.3g}") for value in drawn)
    quarters = [sum(low <= math.log10(value) < low + 1 for value in drawn) for low in (-4, -3, -2, -1)]
    assert min(quarters) > 60


def test_names_are_short_and_tell_points_apart() -> None:
    rates: list[dict[str, Any]] = [{"variants.wcae.train.learning_rate": value} for value in (0.001, 1e-5)]
    assert names(rates, None) == ["wcae-learning_rate=0.001", "wcae-learning_rate=1e-05"]
    assert names(rates, "mine") == ["mine-learning_rate=0.001", "mine-learning_rate=1e-05"]
    both = [{"variants.wcae.train.steps": 1, "variants.gmm.train.steps": 2, "+target_bpp": 0.2}]
    assert labels(both[0]) == ["wcae.train.steps", "gmm.train.steps", "target_bpp"]
    assert names(both, None) == ["wcae.train.steps=1,gmm.train.steps=2,target_bpp=0.2"]


def test_names_are_refs_whatever_the_values() -> None:
    values = ["a b", "a_b", [1, [2]], {"N": 3}, None, "~^:?*[\\..@{/", "x" * 300, "x" * 301, "", "-", "ä", ".lock"]
    found = names([{"a.b.c": value} for value in values], None)
    assert len(set(found)) == len(values)
    for name in found:
        assert "/" not in name
        assert len(name) < 200
        subprocess.run(["git", "check-ref-format", f"refs/exps/{name}"], check=True)
