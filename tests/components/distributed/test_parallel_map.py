from collections.abc import Iterator
from time import sleep

import pytest

from components.distributed.parallel_map import in_processes


def slow_square(number: int) -> int:
    sleep(0.05 if number == 0 else 0)
    return number * number


def fails_at_three(number: int) -> int:
    if number == 3:
        raise ValueError("three")
    return number


def test_results_come_in_the_order_of_the_items() -> None:
    assert list(in_processes(2)(slow_square, range(8))) == [number * number for number in range(8)]
    assert list(in_processes(2)(slow_square, [])) == []


def test_items_are_drawn_a_few_at_a_time() -> None:
    drawn: list[int] = []

    def items() -> Iterator[int]:
        for number in range(50):
            drawn.append(number)
            yield number

    results = in_processes(1)(slow_square, items())
    assert next(results) == 0
    assert len(drawn) == 3
    results.close()  # type: ignore[attr-defined]


def test_an_exception_comes_where_its_result_would() -> None:
    results = in_processes(2)(fails_at_three, range(6))
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(results)
