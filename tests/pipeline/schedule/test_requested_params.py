"""params.yaml of a run that was asked for other parameters."""

import json
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from components.errors import SourceError
from pipeline.config import params
from pipeline.schedule.plan import Request
from pipeline.schedule.requested_params import requested_params
from tests.small_profile import small_text

NOTHING = Request()
CHECKOUT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("asked", "variants", "fine_tuned"),
    [
        (["wcae_ft"], ["wcae"], ["wcae_ft"]),
        (["wcae_ft_again"], ["wcae"], ["wcae_ft", "wcae_ft_again"]),
        (["nowcae", "wcae"], ["wcae", "nowcae"], []),
    ],
)
def test_a_fine_tuned_variant_brings_the_one_that_it_starts_from(
    asked: list[str], variants: list[str], fine_tuned: list[str]
) -> None:
    yaml = YAML(typ="safe")
    document = yaml.load(small_text())
    wcae = document["variants"]["wcae"]
    document["fine_tuned"] = {
        "wcae_ft": {**wcae, "start": "models/wcae/trained.safetensors", "data": "bundled-calibration"},
        "wcae_ft_again": {**wcae, "start": "models/wcae_ft/trained.safetensors", "data": "bundled-calibration"},
    }
    document["efforts"] = {"wcae_ft": [1], "wcae_ft_again": [1], "haar_hyper": [2]}
    document["resources"] = {"default": {"cpus": 2}, "gmm": {"cpus": 1}}
    text = requested_params(CHECKOUT, json.dumps(document), Request(variants=asked, training_steps=7))
    settings = params.parse(yaml.load(text), "params.yaml")
    assert (list(settings.variants), list(settings.fine_tuned)) == (variants, fine_tuned)
    assert {variant.train.steps for variant in settings.all_variants.values()} == {7}
    assert list(settings.efforts) == fine_tuned
    assert list(settings.resources) == ["default"]


def test_a_dead_source_keeps_its_known_revision(picture_files: list[Path], caplog: pytest.LogCaptureFixture) -> None:
    yaml = YAML(typ="safe")
    document = yaml.load(small_text())
    document["datasets"]["bundled-test"] = {"source": str(picture_files[0].parent)}
    known = requested_params(CHECKOUT, json.dumps(document), NOTHING)
    gone = known.replace(str(picture_files[0].parent), "/nowhere/at/all")
    assert yaml.load(requested_params(CHECKOUT, gone, NOTHING)) == yaml.load(gone)
    [warning] = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    revision = yaml.load(known)["datasets"]["bundled-test"]["revision"]
    assert (
        warning == f"bundled-test: going on with the known revision {revision}, since /nowhere/at/all: no such folder"
    )


def test_a_dead_source_that_no_run_has_used_is_refused() -> None:
    document = YAML(typ="safe").load(small_text())
    document["datasets"]["bundled-test"] = {"source": "/nowhere/at/all"}
    with pytest.raises(SourceError, match="no such folder"):
        requested_params(CHECKOUT, json.dumps(document), NOTHING)
