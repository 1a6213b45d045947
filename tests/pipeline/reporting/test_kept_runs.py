"""Which runs `ratewright keep` takes: the reference run, which was made before it asked, is not one of them."""

from pathlib import Path

import pytest

from components.errors import RatewrightError
from pipeline.documents import RunRecord, read
from pipeline.documents.run import Budget
from pipeline.reporting.kept_runs import check_provenance

REAL = Path(__file__).parents[3] / "results" / "real"
LOCK = REAL / "dvc.lock"


@pytest.fixture(scope="module")
def mixed() -> dict[str, Budget]:
    """The reference run: its variants were trained on three commits, `minnen` for 240 steps and not for 200."""
    return read(RunRecord, REAL / "run.json").variants


def test_variants_of_several_commits_are_refused(mixed: dict[str, Budget]) -> None:
    with pytest.raises(RatewrightError, match="variants were trained on") as caught:
        check_provenance(mixed, LOCK)
    said = str(caught.value)
    assert "\n" not in said
    for variant, budget in mixed.items():
        assert variant in said
        assert str(budget.git_commit)[:9] in said


def test_a_lock_of_other_steps_is_refused(mixed: dict[str, Budget]) -> None:
    of_one = {name: budget.model_copy(update={"git_commit": "abc"}) for name, budget in mixed.items()}
    with pytest.raises(RatewrightError) as caught:
        check_provenance(of_one, LOCK)
    said = "it trains minnen for 200 steps, its checkpoint for 240"
    assert str(caught.value) == f"{LOCK} is not of the run to keep: {said}"

    right = {**of_one, "minnen": of_one["minnen"].model_copy(update={"step": 200})}
    check_provenance(right, LOCK)
    with pytest.raises(RatewrightError, match="it trains new for no steps, its checkpoint for 200"):
        check_provenance({**right, "new": right["minnen"]}, LOCK)


def test_runs_outside_git_are_of_one_code_as_far_as_known(mixed: dict[str, Budget]) -> None:
    nowhere = {"gmm": mixed["gmm"].model_copy(update={"git_commit": None})}
    check_provenance(nowhere, LOCK)
    with pytest.raises(RatewrightError, match=r"no commit: gmm; .*: atc"):
        check_provenance({**nowhere, "atc": mixed["atc"]}, LOCK)
