from pathlib import Path

import pytest

from components.codecs.model_card import DataSet
from pipeline.reporting.archive import CHAMPION, KeptRun
from pipeline.reporting.evidence import core_hours, evidence_of_checkpoint, kilowatt_hours

FLAGSHIP = Path(__file__).parents[3] / "results" / "flagship"


def test_the_winner_of_a_kept_run_has_the_figures_of_its_leaderboard() -> None:
    kept, known = KeptRun.read(FLAGSHIP), evidence_of_checkpoint(FLAGSHIP / CHAMPION)
    assert known is not None
    row = next(row for row in kept.board.rows if row.name == kept.board.winner)
    found = {(each.data_set, each.rate): each for each in known.measured}[kept.board.test_set, "the target on this set"]
    assert found.bpp == pytest.approx(row.bpp)
    for ours, theirs in ((found.psnr_db, row.psnr_db), (found.ms_ssim, row.ms_ssim)):
        assert ours is not None
        assert ours.low is not None
        assert ours.high is not None
        assert ours.mean == pytest.approx(theirs)
        assert ours.low < ours.mean < ours.high
    assert known.target_bpp == kept.board.target_bpp
    assert known.training_s is not None
    assert known.energy_kwh == kilowatt_hours(core_hours(known.training_s, 1))


def test_data_sets_are_named_with_the_licences_of_their_manifests() -> None:
    known = evidence_of_checkpoint(FLAGSHIP / CHAMPION)
    assert known is not None
    assert DataSet("training", "cid22-train", 209, "CC BY-SA 4.0 (Cloudinary CID22)") in known.data
    assert {each.role for each in known.data} == {"training", "calibration", "test"}


def test_nothing_is_known_of_another_checkpoint(tmp_path: Path) -> None:
    (tmp_path / CHAMPION).touch()
    assert evidence_of_checkpoint(tmp_path / CHAMPION) is None
    assert evidence_of_checkpoint(FLAGSHIP / "other.safetensors") is None
