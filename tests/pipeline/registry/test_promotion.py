"""The stage `register` and the registry behind it: a real MLflow on sqlite, one story from the first champion on."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from components.arrays import Rgb
from components.codecs.base import Codec
from components.codecs.coder import LearnedCoder
from components.data.image_files import encode_png
from components.errors import RatewrightError
from components.evaluation.measure import measure
from components.evaluation.results import summarise
from components.rate.gain_search import gain_for_target
from components.storage.atomic import read_json, write_json
from pipeline.registry.client import TrackingError, client, uri
from pipeline.registry.loading import codec_that_wrote, registered_codec
from pipeline.registry.models import CHALLENGER, CHAMPION, RegisteredModel
from pipeline.registry.promotion import roll_back
from pipeline.stages import register
from tests.data_sets import write_data_set
from tests.pipeline.registry.checkout import MODEL, TARGET, Checkout, Json
from tests.pipeline.registry.downstream import run_downstream

# MLflow and its dependencies warn; that is not for this project to fix.
pytestmark = pytest.mark.filterwarnings("ignore")
ROOT = Path(__file__).parents[3]


@dataclass
class Story:
    """registry.json and the registry's content after each chapter."""

    checkout: Checkout
    codecs: list[Codec]
    said: dict[str, Json] = field(default_factory=dict)
    bytes_: dict[str, bytes] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    tags: dict[str, dict[str, str]] = field(default_factory=dict)
    rolled_back: tuple[str, str] = ("", "")
    second_rollback: str = ""

    def chapter(self, name: str) -> None:
        self.said[name] = self.checkout.register()
        self.bytes_[name] = (self.checkout.root / "registry.json").read_bytes()
        self.versions[name] = len(RegisteredModel(self.checkout.root, MODEL).versions())


def at_target(codec: Codec, photographs: list[Rgb]) -> tuple[float, float]:
    """Rate in bits per pixel and mean PSNR in dB of a codec at the target on these pictures."""
    pictures = [(str(k), rgb) for k, rgb in enumerate(photographs)]
    gain = gain_for_target(codec, photographs, TARGET, 0.03)
    point = summarise(measure(LearnedCoder(codec, gain), pictures))
    assert point.psnr_db is not None
    return point.bpp, point.psnr_db


@pytest.fixture(scope="module")
def story(
    make_codec: Callable[..., Codec],
    photographs: list[Rgb],
    empty_database: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Story:
    """First champion, again, a worse one, a better one, rollback, again, another test set."""
    checkout = Checkout(tmp_path_factory.mktemp("checkout"), empty_database)
    write_data_set(checkout.root / "data" / "raw" / "bundled-test", photographs[:2])
    worst, middle, best = sorted(
        (make_codec("wcae", seed=seed) for seed in range(3)), key=lambda codec: at_target(codec, photographs[:2])[1]
    )
    codecs = [middle, worst, best]
    story = Story(checkout, codecs)

    def model() -> RegisteredModel:
        return RegisteredModel(checkout.root, MODEL)

    checkout.win(codecs[0], 30.0)
    story.chapter("first")
    story.tags["first"] = model().tags("1")
    story.chapter("first again")

    checkout.win(codecs[1], 29.0)
    story.chapter("worse")
    story.chapter("worse again")

    checkout.win(codecs[2], 31.0)
    story.chapter("better")
    story.chapter("better again")

    story.rolled_back = roll_back(model())
    story.chapter("rolled back")
    story.chapter("rolled back again")
    try:
        roll_back(model())
    except TrackingError as error:
        story.second_rollback = str(error)

    write_data_set(checkout.root / "data" / "raw" / "bundled-test", photographs[2:4])
    checkout.win(codecs[1], 99.0, test_set="2" * 64)
    story.chapter("another test set")
    story.tags["another test set"] = model().tags("1")
    return story


def test_the_first_champion_is_promoted(story: Story) -> None:
    said = story.said["first"]
    assert said["model"] == MODEL
    assert said["version"] == "1"
    assert said["decision"] == "promoted"
    assert "there was no champion" in said["why"]
    assert said["champion"] is None
    assert said["challenger"] == {"version": "1", "bpp": TARGET, "psnr_db": 30.0}
    assert said["aliases"] == {CHAMPION: "1", CHALLENGER: "1"}


def test_a_version_says_what_it_is(story: Story) -> None:
    tags = story.tags["first"]
    assert tags["model_hash"] == story.codecs[0].model_hash().hex()
    assert tags["codec"] == "wcae"
    assert (tags["lmbda"], tags["gain"], tags["calibrated_bpp"]) == ("0.01", "1.0", "0.99")
    assert tags["data_sha256"] == "d"
    assert json.loads(tags["at_target.psnr_db." + "1" * 16]) == {"bpp": TARGET, "psnr_db": 30.0}


def test_a_version_has_a_model_card(story: Story) -> None:
    card = client(story.checkout.root).get_model_version(MODEL, "1").description
    assert card is not None
    assert f"models:/{MODEL}@champion" in card
    assert "| bundled-test | the target on this set | 2 | 0.2500 | " in card
    assert "| test | bundled-test | - | - |" in card


def test_a_release_names_the_test_set_among_its_inputs(story: Story) -> None:
    found = client(story.checkout.root)
    for version, test_set in (("1", "1" * 64), ("3", "1" * 64)):
        run_id = found.get_model_version(MODEL, version).run_id
        assert run_id is not None
        inputs = found.get_run(run_id).inputs
        assert inputs is not None
        (data,) = inputs.dataset_inputs
        tags = {tag.key: tag.value for tag in data.tags}
        assert (data.dataset.name, data.dataset.digest) == ("bundled-test", test_set[:36])
        assert tags == {"mlflow.data.context": "test", "sha256": test_set}


@pytest.mark.parametrize(("chapter", "versions"), [("first", 1), ("worse", 2), ("better", 3), ("rolled back", 3)])
def test_registering_twice_makes_one_version_and_the_same_file(chapter: str, versions: int, story: Story) -> None:
    assert story.versions[chapter] == story.versions[f"{chapter} again"] == versions
    assert story.bytes_[f"{chapter} again"] == story.bytes_[chapter]


def test_a_worse_challenger_is_not_promoted(story: Story) -> None:
    said = story.said["worse"]
    assert said["decision"] == "kept champion"
    assert said["version"] == "2"
    assert said["aliases"] == {CHAMPION: "1", CHALLENGER: "2"}
    broken = [rule for rule in said["rules"] if not rule["passed"]]
    assert [rule["rule"] for rule in broken] == ["quality"]
    assert said["why"] == f"quality: {broken[0]['text']}"
    assert broken[0]["gain"] == pytest.approx(said["challenger"]["psnr_db"] - said["champion"]["psnr_db"])


def test_both_are_measured_on_the_same_pictures(story: Story, photographs: list[Rgb]) -> None:
    for chapter, codec, who in (("worse", 0, "champion"), ("worse", 1, "challenger"), ("better", 2, "challenger")):
        bpp, psnr_db = at_target(story.codecs[codec], photographs[:2])
        assert story.said[chapter][who]["bpp"] == pytest.approx(bpp)
        assert story.said[chapter][who]["psnr_db"] == pytest.approx(psnr_db)


def test_a_better_challenger_is_promoted(story: Story) -> None:
    said = story.said["better"]
    assert said["decision"] == "promoted"
    assert said["aliases"] == {CHAMPION: "3", CHALLENGER: "3"}
    assert said["champion"]["version"] == "1"
    assert said["why"].startswith("no rule is broken: rate: ")
    assert all(rule["passed"] for rule in said["rules"])


def test_rollback_restores_the_former_champion(story: Story) -> None:
    assert story.rolled_back == ("3", "1")
    assert story.second_rollback.startswith(f"{MODEL} version 1 is the first champion")


def test_what_was_rolled_back_is_not_promoted_again(story: Story) -> None:
    said = story.said["rolled back"]
    assert said["decision"] == "kept champion"
    assert "version 3 was rolled back" in said["why"]
    assert said["aliases"][CHAMPION] == "1"
    assert said["challenger"]["psnr_db"] > said["champion"]["psnr_db"], "it would win otherwise"


def test_on_another_test_set_both_are_measured_anew(story: Story, photographs: list[Rgb]) -> None:
    said = story.said["another test set"]
    assert (said["version"], said["champion"]["version"]) == ("2", "1")
    for codec, who in ((story.codecs[0], "champion"), (story.codecs[1], "challenger")):
        bpp, psnr_db = at_target(codec, photographs[2:4])
        assert said[who]["bpp"] == pytest.approx(bpp)
        assert said[who]["psnr_db"] == pytest.approx(psnr_db)
        assert 0.97 * TARGET <= bpp <= TARGET
    better = said["challenger"]["psnr_db"] > said["champion"]["psnr_db"]
    assert said["decision"] == ("promoted" if better else "kept champion")


def test_nothing_lies_outside_the_checkout(story: Story) -> None:
    held = {path.name for path in story.checkout.root.iterdir()}
    assert {"mlflow.db", "mlartifacts"} <= held
    assert len([*(story.checkout.root / "mlartifacts").rglob("calibrated.safetensors")]) == 3


def test_the_stream_finds_its_codec(story: Story) -> None:
    codec = story.codecs[1]
    assert codec_that_wrote(story.checkout.root, "wcae", codec.model_hash()).model_hash == codec.model_hash()
    with pytest.raises(TrackingError, match="does not hold; name it with --model or --checkpoint"):
        codec_that_wrote(story.checkout.root, "wcae", bytes(8))


def test_a_model_that_is_not_there(story: Story) -> None:
    for model_uri in (f"models:/{MODEL}@nobody", f"models:/{MODEL}/99", "models:/other/1", "nonsense"):
        with pytest.raises(TrackingError) as caught:
            registered_codec(story.checkout.root, model_uri)
        assert "\n" not in str(caught.value)
    assert RegisteredModel(story.checkout.root, "other").alias(CHAMPION) is None
    with pytest.raises(TrackingError, match="other has no champion"):
        roll_back(RegisteredModel(story.checkout.root, "other"))


DOWNSTREAM = """
import sys
assert sys.argv[2] not in sys.path
import mlflow
model = mlflow.pyfunc.load_model(sys.argv[1])
picture = open("in.png", "rb").read()
(stream,) = model.predict([picture])
png, again = model.predict([stream, picture])
assert again == stream
open("out.rw", "wb").write(stream)
open("out.png", "wb").write(png)
assert "components" not in sys.modules
"""


def test_a_process_without_the_checkout_compresses_and_decompresses(
    story: Story, photograph: Rgb, tmp_path: Path
) -> None:
    (tmp_path / "in.png").write_bytes(encode_png(photograph))
    champion = int(story.said["another test set"]["aliases"][CHAMPION]) - 1
    model, server = f"models:/{MODEL}@champion", uri(story.checkout.root)
    run_downstream(DOWNSTREAM, model, str(ROOT), cwd=tmp_path, MLFLOW_TRACKING_URI=server)
    coder = LearnedCoder(story.codecs[champion])
    stream = (tmp_path / "out.rw").read_bytes()
    assert stream == coder.encode(photograph)
    assert (tmp_path / "out.png").read_bytes() == encode_png(coder.decode(stream))


def test_without_a_lossy_codec_there_is_nothing_to_register(story: Story) -> None:
    root = story.checkout.root
    kept = {path: (root / path).read_bytes() for path in ("leaderboard.json", "registry.json")}
    board = read_json(root / "leaderboard.json")
    write_json(root / "leaderboard.json", {**board, "rows": [], "winner": None, "why": "lossless ones alone"})
    try:
        register.run(root)
        record = read_json(root / "registry.json")
    finally:
        for path, content in kept.items():
            (root / path).write_bytes(content)
    assert (record["decision"], record["why"], record["version"]) == ("unchanged", "lossless ones alone", None)
    assert record["aliases"] == json.loads(kept["registry.json"])["aliases"], "earlier champions stay"
    assert "champion" in record["aliases"]


def test_no_winner_registers_nothing(story: Story) -> None:
    board = read_json(story.checkout.root / "leaderboard.json")
    before = (story.checkout.root / "registry.json").read_bytes()
    write_json(story.checkout.root / "leaderboard.json", {**board, "winner": None, "why": "nobody came"})
    try:
        with pytest.raises(RatewrightError, match="nothing to register: nobody came"):
            register.run(story.checkout.root)
    finally:
        write_json(story.checkout.root / "leaderboard.json", board)
    assert (story.checkout.root / "registry.json").read_bytes() == before
