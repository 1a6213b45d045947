from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from components.codecs.table import CODECS
from components.errors import RatewrightError
from components.metrics.table import METRICS
from components.training.config import TrainingConfig
from components.training.resources import Resources
from pipeline.config import params
from pipeline.config.params import Params, Selection
from pipeline.documents.leaderboard import LossyRow
from pipeline.documents.registry import FiguresOnTestSet
from tests.small_profile import small_params

Document = dict[str, Any]


@pytest.fixture
def document() -> Document:
    """The small profile as plain data."""
    return small_params()


def refused(document: Any) -> str:
    with pytest.raises(RatewrightError) as caught:
        params.parse(document, "params.yaml")
    said = str(caught.value)
    assert said.startswith("params.yaml: ")
    assert "\n" not in said
    return said


def put(*path: str, value: Any) -> Callable[[Document], None]:
    def change(document: Document) -> None:
        for key in path[:-1]:
            document = document[key]
        document[path[-1]] = value

    return change


def test_the_small_profile_loads(document: Document) -> None:
    loaded = params.parse(document, "params.yaml")
    assert loaded.model_name == "image-codec-0.15bpp"
    assert {v.codec for v in loaded.all_variants.values()} == CODECS.keys(), (
        "every codec of the table is in the small profile"
    )
    assert loaded.variant("wcae").codec == "wcae"


@pytest.mark.parametrize(
    ("change", "key", "why"),
    [
        (put("sede", value=1), "sede", "Extra inputs"),
        (put("shards", "patches", value=3), "shards.patches", "Extra inputs"),
        (put("variants", "wcae", "train", "lambda", value=1), "variants.wcae.train.lambda", "Extra inputs"),
        (put("datasets", "bundled-test", "url", value="x"), "datasets.bundled-test.url", "Extra inputs"),
        (put("seed", value="7"), "seed", "valid integer (got '7')"),
        (put("seed", value=-1), "seed", "greater than or equal to 0 (got -1)"),
        (put("seed", value=1.5), "seed", "integer"),
        (put("threads", value=0), "threads", "greater than 0"),
        (put("target_bpp", value="low"), "target_bpp", "valid number"),
        (put("target_bpp", value=0), "target_bpp", "greater than 0"),
        (put("target_bpp", value=True), "target_bpp", "valid number"),
        (put("shards", "patch", value=None), "shards.patch", "integer"),
        (put("shards", "train_share", value=1.2), "shards.train_share", "less than or equal to 1"),
        (put("shards", "smallest_scale", value=0), "shards.smallest_scale", "greater than 0"),
        (put("variants", "wcae", "train", "schedule", value="linear"), "variants.wcae.train.schedule", "cosine"),
        (put("variants", "wcae", "train", "workers", value=-1), "variants.wcae.train.workers", "equal to 0"),
        (put("variants", "nowcae", "calibrate", "tolerance", value=1.0), "nowcae.calibrate.tolerance", "less than 1"),
        (put("selection", "metric", value="lpips"), "selection.metric", "psnr_db"),
        (put("baselines", value="jpeg"), "baselines", "valid list"),
        (put("data", "test", value=None), "data.test", "valid string"),
        (put("variants", "wcae", value=None), "variants.wcae", "valid dictionary"),
        (put("launcher", value="slurm"), "launcher", "'local' or 'ray' (got 'slurm')"),
        (put("ray", value={"adress": "host:6379"}), "ray.adress", "Extra inputs"),
        (put("ray", value={"restarts": -1}), "ray.restarts", "equal to 0"),
        (put("ray", value={"wait_s": 0}), "ray.wait_s", "greater than 0"),
        (put("ray", value={"cache_gb": -1.0}), "ray.cache_gb", "equal to 0"),
        (put("resources", value={"wcae": {"workers": 0}}), "resources.wcae.workers", "greater than 0"),
        (put("resources", value={"wcae": {"gpus": 2}}), "resources.wcae.gpus", "less than or equal to 1"),
        (put("resources", value={"default": {"memory": 3}}), "resources.default.memory", "Extra inputs"),
    ],
)
def test_a_wrong_value_is_named(document: Document, change: Callable[[Document], None], key: str, why: str) -> None:
    change(document)
    said = refused(document)
    assert f"{key}: " in said
    assert why in said


def test_a_missing_key_is_named(document: Document) -> None:
    del document["target_bpp"], document["variants"]["wcae"]["train"]["learning_rate"]
    said = refused(document)
    assert "target_bpp: Field required" in said
    assert "variants.wcae.train.learning_rate: Field required" in said, "every fault is told at once"


@pytest.mark.parametrize("budget", [{"steps": 10, "minutes": 2.0}, {"steps": None, "minutes": None}])
def test_the_budget_is_one_of_two(document: Document, budget: Document) -> None:
    document["variants"]["nowcae"]["train"] |= budget
    said = refused(document)
    assert "variants.nowcae.train: " in said
    assert "as steps or as minutes" in said


@pytest.mark.parametrize(("role", "other"), [("calibration", "test"), ("train", "test"), ("train", "calibration")])
def test_a_data_set_has_one_role(document: Document, role: str, other: str) -> None:
    document["data"][role] = document["data"][other]
    said = refused(document)
    assert "data: " in said
    assert "three different data sets" in said


def test_a_data_set_must_be_defined(document: Document) -> None:
    document["data"]["test"] = "kodac"
    assert "datasets does not define: kodac" in refused(document)


def test_a_name_is_a_variant_or_a_baseline(document: Document) -> None:
    document["variants"]["jpeg"] = document["variants"]["wcae"]
    assert "in two of variants, fine_tuned and baselines: jpeg" in refused(document)


@pytest.fixture
def tuned(document: Document) -> Document:
    """The small profile with wcae_ft, which starts from wcae and is trained on the calibration set."""
    wcae = document["variants"]["wcae"]
    document["fine_tuned"]["wcae_ft"] = {
        **deepcopy(wcae),
        "start": "models/wcae/trained.safetensors",
        "data": "bundled-calibration",
    }
    return document


def test_large_patches_are_cut_before_a_training_asks_for_them(document: Document) -> None:
    document["variants"]["wcae"]["train"]["large_patches"] = 0.2
    assert "train.large_patches of wcae needs shards.large" in refused(document)
    document["shards"]["large"] = {"patch": 512, "patches_per_image": 4}
    assert params.parse(document, "params.yaml").variant("wcae").train.large_patches == 0.2


def test_a_fine_tuned_variant_is_a_variant_with_shards_of_its_own(tuned: Document) -> None:
    loaded = params.parse(tuned, "params.yaml")
    assert list(loaded.all_variants)[-1] == "wcae_ft"
    assert loaded.variant("wcae_ft").train == loaded.variant("wcae").train
    assert (loaded.shards_of("wcae"), loaded.shards_of("wcae_ft")) == ("bundled-train", "wcae_ft")


def test_a_fine_tuned_variant_may_start_from_another_above_it(tuned: Document) -> None:
    again = {**deepcopy(tuned["fine_tuned"]["wcae_ft"]), "start": "models/wcae_ft/trained.safetensors"}
    again["hyperparameters"]["gain_range"] = 0.5  # which training alone uses
    tuned["fine_tuned"]["wcae_ft_again"] = again
    assert list(params.parse(tuned, "params.yaml").all_variants)[-2:] == ["wcae_ft", "wcae_ft_again"]
    tuned["fine_tuned"] = dict(reversed(tuned["fine_tuned"].items()))
    assert "fine_tuned.wcae_ft_again.start: no variant 'wcae_ft' above it" in refused(tuned)


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("start", "models/wace/trained.safetensors", "no variant 'wace' above it; there are wcae, nowcae"),
        ("start", "models/wcae_ft/trained.safetensors", "no variant 'wcae_ft' above it"),
        ("start", "wcae", "wcae is neither models/NAME/trained.safetensors nor a file in results/"),
        ("hyperparameters", {"N": 3}, "not those of wcae, which it starts from"),
        ("data", "clic", "datasets does not define clic"),
        ("data", "bundled-test", "bundled-test is the test set"),
    ],
)
def test_what_a_fine_tuned_variant_cannot_start_from(tuned: Document, key: str, value: Any, why: str) -> None:
    tuned["fine_tuned"]["wcae_ft"][key] = value
    assert f"fine_tuned.wcae_ft.{key}: {why}" in refused(tuned)


@pytest.mark.parametrize("name", ["nowcae", "jpeg"])
def test_a_fine_tuned_variant_has_a_name_of_its_own(tuned: Document, name: str) -> None:
    tuned["fine_tuned"][name] = tuned["fine_tuned"]["wcae_ft"]
    assert f"in two of variants, fine_tuned and baselines: {name}" in refused(tuned)


@pytest.mark.parametrize("document", [None, [], "text", 3])
def test_a_document_of_another_kind(document: Any) -> None:
    assert "file: " in refused(document)


def test_where_trainings_run_by_default(document: Document) -> None:
    document = {key: value for key, value in document.items() if key not in ("launcher", "ray", "resources")}
    loaded = params.parse(document, "params.yaml")
    assert loaded.launcher == "local"
    ray, resources = loaded.ray, loaded.resources_of("wcae")
    assert (ray.address, ray.storage, ray.shards) == (None, None, None)
    assert (ray.cache_gb, ray.restarts, ray.wait_s) == (20.0, 3, 30.0)
    assert (resources.workers, resources.gpus, resources.cpus, resources.memory_gb) == (None, 0, 1, None)
    assert resources.save_every_s == 60.0


def test_resources_of_a_variant(tuned: Document) -> None:
    tuned["resources"] = {"default": {"workers": 2}, "wcae": {"gpus": 1}, "wcae_ft": {"memory_gb": 0.5}}
    loaded = params.parse(tuned, "params.yaml")
    assert loaded.resources_of("nowcae") == Resources(workers=2)
    assert loaded.resources_of("wcae") == Resources(gpus=1), "its own entry, whole"
    assert loaded.resources_of("wcae_ft") == Resources(memory_gb=0.5)
    del tuned["resources"]["default"]
    assert params.parse(tuned, "params.yaml").resources_of("nowcae") == Resources()


def test_resources_of_no_variant(document: Document) -> None:
    document["resources"] = {"default": {}, "wace": {"workers": 2}, "jpeg": {}}
    assert "resources: no variant jpeg, wace" in refused(document)


def test_long_values_are_shortened(document: Document) -> None:
    document["seed"] = "x" * 10_000
    assert len(refused(document)) < 200


def test_an_unknown_variant(document: Document) -> None:
    with pytest.raises(RatewrightError, match=r"no variant 'wace'; there are wcae, nowcae, "):
        params.parse(document, "params.yaml").variant("wace")


def test_no_params_here(tmp_path: Path) -> None:
    with pytest.raises(RatewrightError, match=r"there is no params\.yaml here; run this from the checkout"):
        params.load(tmp_path)


@pytest.mark.parametrize("text", ["seed: [1", "a: 1\na: 2\n", "\tseed: 1", "seed: {a"])
def test_a_file_that_is_not_yaml(tmp_path: Path, text: str) -> None:
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(RatewrightError, match=r"not valid YAML") as caught:
        params.load(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["seed: [1", "a: 1\na: 2\n"])
def test_a_committed_text_that_is_not_yaml(text: str) -> None:
    with pytest.raises(RatewrightError, match=r"^params\.yaml: not valid YAML: [^\n]+$"):
        params.loads(text)


def test_every_field_is_documented() -> None:
    seen: set[type[BaseModel]] = set()

    def visit(model: type[BaseModel]) -> None:
        seen.add(model)
        for name, field in model.model_fields.items():
            structure = {"data", "datasets", "shards", "variants", "baselines", "selection", "registry", "train", "ray"}
            assert field.description or name in structure | {"calibrate"}, f"{model.__name__}.{name}"
            for part in (field.annotation, *getattr(field.annotation, "__args__", ())):
                if isinstance(part, type) and issubclass(part, BaseModel) and part not in seen:
                    visit(part)

    visit(Params)
    assert TrainingConfig in seen


def test_every_metric_that_may_rank_is_in_leaderboards_and_in_the_registry(document: Document) -> None:
    metrics = get_args(Selection.model_fields["metric"].annotation)
    assert {"psnr_db", "pooled_psnr_db", "ssimulacra2", "psnr_hvs_m_db"} <= set(metrics)
    assert set(metrics) <= set(LossyRow.model_fields) & set(METRICS)
    assert set(FiguresOnTestSet.model_fields) == {"bpp", *metrics}
    put("selection", "metric", value="ssimulacra2")(document)
    assert params.parse(document, "params.yaml").selection.metric == "ssimulacra2"


def test_shards_are_cut_as_the_params_say(document: Document) -> None:
    loaded = params.parse(document, "params.yaml")
    assert loaded.shards.patch == 256
