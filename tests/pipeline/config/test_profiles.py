import shutil
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from components.errors import RatewrightError
from pipeline.config import params
from pipeline.config.profiles import profile_text, write_profile
from tests.small_profile import small_params, small_text

ROOT = Path(__file__).parents[3]
PROFILES = sorted(path.stem for path in (ROOT / "profiles").glob("*.yaml") if path.stem != "datasets")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with the profiles and the small one in use."""
    shutil.copytree(ROOT / "profiles", tmp_path / "profiles")
    write_profile(tmp_path, "small", None)
    return tmp_path


def test_params_yaml_becomes_the_profile_and_back(checkout: Path) -> None:
    before = (checkout / "params.yaml").read_text()
    assert before == profile_text(checkout, "small") == small_text()
    write_profile(checkout, "real", None)
    assert list(params.load(checkout).datasets) != list(params.parse(small_params(), "it").datasets)
    write_profile(checkout, "small", None)
    assert (checkout / "params.yaml").read_text() == before


@pytest.mark.parametrize("name", PROFILES)
def test_every_profile_validates(name: str, checkout: Path) -> None:
    write_profile(checkout, name, None)
    loaded = params.load(checkout)
    roles = {loaded.data.train, loaded.data.calibration, loaded.data.test}
    assert roles <= set(loaded.datasets)
    for dataset in loaded.datasets.values():
        assert dataset.source or dataset.manifest or dataset.files
        manifests = [dataset.manifest] if isinstance(dataset.manifest, str) else dataset.manifest or []
        assert all((ROOT / manifest).exists() for manifest in manifests)


@pytest.mark.parametrize("name", PROFILES)
def test_no_profile_lets_a_clock_decide_the_arithmetic(name: str, checkout: Path) -> None:
    write_profile(checkout, name, None)
    loaded = params.load(checkout)
    variants = (*loaded.variants.values(), *loaded.fine_tuned.values())
    assert "auto" not in {variant.train.precision for variant in variants}


def test_comments_of_a_profile_are_kept(checkout: Path) -> None:
    write_profile(checkout, "small", None)
    first = (ROOT / "profiles" / "small.yaml").read_text().splitlines()[0]
    assert (checkout / "params.yaml").read_text().splitlines()[0] == first


def test_where_trainings_run_stays_as_it_is(checkout: Path) -> None:
    path = checkout / "params.yaml"
    document = YAML(typ="safe").load(path)
    here = {"launcher": "ray", "ray": {"address": "ray://head:10001", "restarts": 5}}
    claims = {"default": {"workers": 2}, "wcae": {"gpus": 1}, "haar_hyper": {"cpus": 4}}
    YAML().dump({**document, **here, "resources": claims}, path)
    write_profile(checkout, "paper-004", None)
    written = YAML(typ="safe").load(path)
    assert {key: written[key] for key in here} == here
    assert written["resources"] == {"default": {"workers": 2}, "wcae": {"gpus": 1}}, "it has no haar_hyper"
    path.write_text("nonsense")
    write_profile(checkout, "small", None)
    assert params.load(checkout).launcher == "local"


def test_only_the_profiles_data_sets_are_written() -> None:
    document = small_params()
    assert set(document["datasets"]) == {f"bundled-{part}" for part in ("train", "calibration", "fine-tune", "test")}


@pytest.mark.parametrize("name", ["smal", "", "datasets", "../params", "manifests"])
def test_an_unknown_profile_changes_nothing(name: str, checkout: Path) -> None:
    before = (checkout / "params.yaml").read_bytes()
    with pytest.raises(RatewrightError, match=r"no profile .*; there are .*small"):
        write_profile(checkout, name, None)
    assert (checkout / "params.yaml").read_bytes() == before


def test_a_mirror_that_is_a_folder_is_written_absolute(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (checkout / "mirror").mkdir()
    monkeypatch.chdir(checkout)
    write_profile(checkout, "small", "mirror")
    assert params.load(checkout).mirror == str((checkout / "mirror").resolve())


@pytest.mark.parametrize("mirror", ["s3://bucket/prefix", "https://example.org/data"])
def test_a_mirror_with_a_scheme_is_written_as_it_is(mirror: str, checkout: Path) -> None:
    write_profile(checkout, "small", mirror)
    assert params.load(checkout).mirror == mirror


def test_a_mirror_that_is_no_folder_is_refused(checkout: Path) -> None:
    before = (checkout / "params.yaml").read_bytes()
    with pytest.raises(RatewrightError, match="nowhere: not a folder"):
        write_profile(checkout, "small", "nowhere")
    assert (checkout / "params.yaml").read_bytes() == before


def test_a_profile_that_does_not_validate_is_refused(checkout: Path) -> None:
    profile = checkout / "profiles" / "small.yaml"
    profile.write_text(profile.read_text().replace("target_bpp: 0.15", "target_bpp: -1"))
    before = (checkout / "params.yaml").read_bytes()
    with pytest.raises(RatewrightError, match=r"profiles/small\.yaml: target_bpp: .*greater than 0"):
        write_profile(checkout, "small", None)
    assert (checkout / "params.yaml").read_bytes() == before


def test_a_data_set_that_the_catalogue_lacks(checkout: Path) -> None:
    profile = checkout / "profiles" / "small.yaml"
    profile.write_text(profile.read_text().replace("  - bundled-test", "  - bundled-tset"))
    with pytest.raises(RatewrightError, match=r"not in profiles/datasets\.yaml: bundled-tset"):
        write_profile(checkout, "small", None)
