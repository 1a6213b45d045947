"""The threads of stages come from params.yaml, not from the machine."""

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from ruamel.yaml import YAML
from threadpoolctl import threadpool_info, threadpool_limits

from components.errors import RatewrightError
from pipeline.stages import calibrate, evaluate, train
from tests.small_profile import small_params


@pytest.fixture(autouse=True)
def limits_restored() -> Iterator[None]:
    with threadpool_limits(1):
        yield


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(
    ("module", "name"), [(train, "wcae"), (calibrate, "wcae"), (evaluate, "wcae"), (evaluate, "jpeg")]
)
def test_a_stage_takes_its_threads_from_params(module: ModuleType, name: str, tmp_path: Path) -> None:
    """Before it looks at its inputs, which are missing here."""
    with (tmp_path / "params.yaml").open("w") as file:
        YAML().dump({**small_params(), "threads": 2}, file)
    with pytest.raises((RatewrightError, OSError)):
        module.run(tmp_path, name)
    assert torch.get_num_threads() == 2
    assert {pool["num_threads"] for pool in threadpool_info()} == {2}
