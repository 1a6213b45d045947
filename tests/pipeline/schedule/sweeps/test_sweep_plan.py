"""The experiments of a sweep of the small profile, checked before anything runs."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from components.errors import RatewrightError
from pipeline.config import params
from pipeline.schedule.git import Repository
from pipeline.schedule.sweeps.experiments import locked_stages
from pipeline.schedule.sweeps.grid import axis, grid
from pipeline.schedule.sweeps.sweep_graph import sweep_graph
from pipeline.schedule.sweeps.sweep_plan import SweepPlan, plan
from tests.small_profile import small_text

CHECKOUT = Path(__file__).resolve().parents[4]
RATES = "variants.wcae.train.learning_rate=0.001,0.002"


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with the pipeline's declarations."""
    root = tmp_path_factory.mktemp("start")
    shutil.copy(CHECKOUT / "dvc.yaml", root)
    shutil.copy(CHECKOUT / "code.json", root)
    (root / "params.yaml").write_text(small_text())
    repository = Repository(root)
    repository.git("init", "--quiet", "--initial-branch=main")
    repository.git("add", "-A")
    repository.git("-c", "user.name=test", "-c", "user.email=test@example.invalid", "commit", "--quiet", "-m", "start")
    return root


@pytest.fixture
def repository(start: Path, tmp_path: Path) -> Repository:
    return Repository(shutil.copytree(start, tmp_path / "checkout"))


def planned(
    repository: Repository, *settings: str, targets: tuple[str, ...] = (), name: str | None = None
) -> SweepPlan:
    return plan(repository, grid([axis(setting) for setting in settings]), targets, name)


def test_each_point_has_its_params_and_the_evaluation_that_they_change(repository: Repository) -> None:
    found = planned(repository, RATES)
    assert found.base == repository.head()
    assert [each.name for each in found.experiments] == ["wcae-learning_rate=0.001", "wcae-learning_rate=0.002"]
    for each, rate in zip(found.experiments, (0.001, 0.002), strict=True):
        assert params.loads(each.settings).variants["wcae"].train.learning_rate == rate
        assert each.targets == ("evaluate@wcae",)
        assert {"fetch@bundled-train", "shard@bundled-train", "train@wcae", "calibrate@wcae"} < each.stages.keys()
    assert not repository.changed_files()


def test_common_stages_are_those_that_no_key_reaches(repository: Repository) -> None:
    common = planned(repository, RATES).common
    assert set(common) == {
        "fetch@bundled-train",
        "fetch@bundled-calibration",
        "fetch@bundled-test",
        "validate@bundled-train",
        "shard@bundled-train",
    }
    assert "shard@bundled-train" not in planned(repository, "shards.patches_per_image=2,3").common


def test_a_key_that_names_stages_changes_them(repository: Repository) -> None:
    """dvc.yaml has `${data.train}` in paths and names: such a key is in no stage's list of params."""
    found = planned(repository, "data.train=bundled-train,bundled-fine-tune", targets=("evaluate@wcae",))
    first, second = found.experiments
    assert "shard@bundled-train" in first.stages
    assert "shard@bundled-fine-tune" in second.stages
    assert "train@wcae" not in found.common


def test_work_that_experiments_share_waits_for_the_first_of_them(repository: Repository) -> None:
    found = planned(repository, RATES, "variants.wcae.calibrate.tolerance=0.01,0.02")
    graph = sweep_graph(found.experiments)
    first, second, third, _ = (each.name for each in found.experiments)
    assert f"{first}:train@wcae" in graph[f"{second}:train@wcae"].node.upstream
    assert graph[f"{second}:train@wcae"].shared
    assert not graph[f"{third}:train@wcae"].shared
    assert not graph[f"{second}:calibrate@wcae"].shared
    order = list(graph)
    for name, each in graph.items():
        assert all(order.index(above) < order.index(name) for above in each.node.upstream)
    runs = [each.stage for each in graph.values() if not each.shared]
    assert (runs.count("shard@bundled-train"), runs.count("train@wcae"), runs.count("calibrate@wcae")) == (1, 2, 4)


def test_the_params_and_the_lock_of_the_workspace_count(repository: Repository) -> None:
    text = small_text().replace("target_bpp: 0.15", "target_bpp: 0.2")
    (repository.root / "params.yaml").write_text(text)
    entry = {"cmd": "x", "outs": [{"path": "y", "md5": "0" * 32}]}
    stages = dict.fromkeys(("shard@bundled-train", "train@wcae", "train@gmm", "choose"), entry)
    lock = {"schema": "2.0", "stages": stages}
    (repository.root / "dvc.lock").write_text(str(lock).replace("'", '"'))
    for each in planned(repository, RATES).experiments:
        assert params.loads(each.settings).target_bpp == 0.2
        assert set(locked_stages(each.lock)) == {"shard@bundled-train", "train@gmm"}, "what the params leave as it is"


def test_groups_of_stages_are_targets(repository: Repository) -> None:
    (only,) = planned(repository, "target_bpp=0.2", targets=("evaluate", "train@gmm")).experiments
    assert {"evaluate@wcae", "evaluate@gmm", "train@gmm"} < set(only.targets)
    assert "train@wcae" not in only.targets


@pytest.mark.parametrize(
    ("settings", "options", "why"),
    [
        (("variants.wcae.train.steeps=1,2",), {}, r"no variants\.wcae\.train\.steeps"),
        (("variants.wcae.train.steps=1,-2",), {}, r"steps=-2: .*variants\.wcae\.train\.steps: .*greater than"),
        (("+variants.wcae.train.steeps=1,2",), {}, r"variants\.wcae\.train\.steeps: .*not permitted"),
        (("variants.wcae.codec=wcea",), {}, "unknown codec 'wcea'"),
        (("variants.gmm.hyperparameters.N=16,x",), {}, "codec 'gmm' does not take the hyper-parameters"),
        (("+variants.gmm.hyperparameters.K=16",), {}, "codec 'gmm' does not take the hyper-parameters"),
        (("seed=1,2",), {"targets": ("fetch@bundled-test",)}, "would run the same"),
        (("registry.name=a,b",), {}, "no evaluation depends on registry.name"),
        ((RATES,), {"targets": ("evaluate@wcea",)}, "no stage evaluate@wcea; there are"),
        ((RATES,), {"name": "a b"}, "names of experiments"),
        ((RATES,), {"name": "a/b"}, "names of experiments"),
    ],
)
def test_a_mistake_is_one_line_before_anything_runs(
    repository: Repository, settings: tuple[str, ...], options: dict[str, Any], why: str
) -> None:
    with pytest.raises(RatewrightError, match=why) as caught:
        planned(repository, *settings, **options)
    assert "\n" not in str(caught.value)


def test_edited_code_is_refused(repository: Repository) -> None:
    (repository.root / "dvc.yaml").write_text((repository.root / "dvc.yaml").read_text() + "# mine\n")
    with pytest.raises(RatewrightError, match=r"commit or undo the edits of dvc\.yaml"):
        planned(repository, RATES)
