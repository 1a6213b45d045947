"""Other values in the text of params.yaml."""

import pytest

from components.errors import RatewrightError
from pipeline.config.edits import edited

TEXT = """\
# the small profile
variants:
  wcae:
    train:
      steps: 160 # few
      learning_rate: 0.003
efforts: {}
"""


def test_a_value_changes_and_comments_stay() -> None:
    changed = edited(TEXT, {"variants.wcae.train.steps": 7})
    assert changed == TEXT.replace("steps: 160 # few", "steps: 7   # few")


def test_a_new_key_is_added_with_what_is_above_it() -> None:
    changed = edited(TEXT, {"+variants.wcae.calibrate.rounds": 2, "+efforts.wcae": [2, 3]})
    assert "    calibrate:\n      rounds: 2\n" in changed
    assert "wcae: [2, 3]" in changed or "wcae:\n  - 2" in changed.replace("    ", "  ")


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("variants.wcae.train.step", r"no variants\.wcae\.train\.step: .*\+variants.* steps, learning_rate"),
        ("variants.wcea.train.steps", "no variants.wcea.train.steps"),
        ("variants.wcae.train.steps.more", "no variants.wcae.train.steps.more"),
        ("+variants.wcae.train.steps", "already"),
        ("+variants.wcae.train.steps.more", "no such place"),
    ],
)
def test_a_key_that_is_not_there_is_one_line(key: str, why: str) -> None:
    with pytest.raises(RatewrightError, match=why):
        edited(TEXT, {key: 1})
