"""Registered versions run the code that they carry: through MLflow, the command line and `registered_codec`."""

import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest

from components.arrays import Rgb
from components.codecs import checkpoint
from components.codecs.base import Codec
from components.codecs.codec_files import DeployedCoder
from components.codecs.coder import LearnedCoder
from components.codecs.model_card import DataSet, Evidence
from components.codecs.table import CODECS
from components.data.image_files import decode_rgb, encode_png
from pipeline.cli.coding import compress, decompress
from pipeline.registry.client import client
from pipeline.registry.loading import codec_that_wrote, registered_codec
from pipeline.registry.model_files import write_code
from pipeline.registry.models import RegisteredModel
from pipeline.registry.runs import Run
from tests.forks import Forks
from tests.pipeline.registry.downstream import run_downstream

# MLflow and its dependencies warn; that is not for this project to fix.
pytestmark = pytest.mark.filterwarnings("ignore")
ROOT = Path(__file__).parents[3]
TODAYS, OTHER, WITHOUT = (f"models:/codec/{version}" for version in (1, 2, 3))
"""Versions with today's code, with code that decodes to negatives, and without code of their own."""
REGISTER = """
import sys
from pathlib import Path
from pipeline.registry.models import RegisteredModel
from pipeline.registry.runs import Run
with Run(Path.cwd(), "release", sys.argv[1], {}) as run:
    RegisteredModel(Path.cwd(), "codec").add(Path(sys.argv[1]), run.id, {"model_hash": sys.argv[2]})
"""
FORMER_MODEL = """
import mlflow
class CodecModel(mlflow.pyfunc.PythonModel):
    def load_context(self, context) -> None:
        from components.codecs.checkpoint import load
    def predict(self, model_input: list[bytes]) -> list[bytes]:
        return model_input
mlflow.models.set_model(CodecModel())
"""


@dataclass(frozen=True)
class Versions:
    """The codecs of three registered versions, as today's code runs them."""

    server: str
    coders: list[LearnedCoder]


@pytest.fixture(scope="module")
def versions(
    make_codec: Callable[..., Codec],
    run_other_code: Callable[..., str],
    mlflow_server: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Versions]:
    import mlflow

    folder = tmp_path_factory.mktemp("versions")
    codecs = [make_codec("wcae", seed=seed) for seed in range(3)]
    paths = [folder / f"{seed}.safetensors" for seed in range(3)]
    for codec, path in zip(codecs, paths, strict=True):
        checkpoint.save(codec, path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
        with Run(folder, "release", "first", {}) as run:
            tags = {"model_hash": codecs[0].model_hash().hex()}
            assert RegisteredModel(folder, "codec").add(paths[0], run.id, tags) == "1"
        run_other_code(REGISTER, str(paths[1]), codecs[1].model_hash().hex())
        (folder / "pyfunc_model.py").write_text(FORMER_MODEL)
        with Run(folder, "release", "third", {}) as run, mlflow.start_run(run_id=run.id):
            logged = mlflow.pyfunc.log_model(
                name="codec",
                python_model=str(folder / "pyfunc_model.py"),
                artifacts={"codec": str(paths[2])},
                code_paths=[str(ROOT / "components")],
                pip_requirements=["mlflow"],
            )
        tags = {"model_hash": codecs[2].model_hash().hex()}
        client(folder).create_model_version("codec", logged.model_uri, tags=tags, model_id=logged.model_id)
        yield Versions(mlflow_server, [LearnedCoder(codec) for codec in codecs])


DOWNSTREAM = """
import pathlib, sys
import mlflow
before, folder = list(sys.path), pathlib.Path(sys.argv[1])
picture = (folder / "in.png").read_bytes()
for place, uri in enumerate(sys.argv[2:]):
    model = mlflow.pyfunc.load_model(uri)
    [stream] = model.predict([picture])
    (folder / f"{place}.rw").write_bytes(stream)
    [png] = model.predict([stream])
    (folder / f"{place}.png").write_bytes(png)
    print(type(model.unwrap_python_model().codec).__module__)
assert "components" not in sys.modules
assert sys.path == before
"""


def test_versions_of_different_code_load_in_one_process(versions: Versions, photograph: Rgb, tmp_path: Path) -> None:
    (tmp_path / "in.png").write_bytes(encode_png(photograph))
    first, second, again = run_downstream(DOWNSTREAM, str(tmp_path), TODAYS, OTHER, TODAYS, cwd=tmp_path)
    assert first == again != second
    decoded = [decode_rgb((tmp_path / f"{place}.png").read_bytes()) for place in range(3)]
    for place, version in enumerate((0, 1, 0)):
        stream = (tmp_path / f"{place}.rw").read_bytes()
        assert stream == versions.coders[version].encode(photograph)
        todays = versions.coders[version].decode(stream)
        assert np.array_equal(decoded[place], todays if version == 0 else negative(todays))


def test_a_version_runs_without_torch(versions: Versions, photograph: Rgb, tmp_path: Path) -> None:
    (tmp_path / "in.png").write_bytes(encode_png(photograph))
    blocked = "import sys\nsys.modules.update(torch=None, pywt=None, components=None)\n" + DOWNSTREAM
    blocked = blocked.replace('assert "components" not in sys.modules', "")
    first, second = run_downstream(blocked, str(tmp_path), TODAYS, OTHER, cwd=tmp_path)
    assert first.endswith(".codecs.exported")
    assert second == first, "the other code differs in a module that takes torch alone"
    for place, coder in enumerate(versions.coders[:2]):
        stream = (tmp_path / f"{place}.rw").read_bytes()
        decoded, todays = decode_rgb((tmp_path / f"{place}.png").read_bytes()), coder.decode(stream)
        assert np.abs(decoded.astype(int) - todays).max() <= 1


@pytest.mark.usefixtures("versions")
def test_a_version_describes_itself(tmp_path: Path) -> None:
    import mlflow

    folder = Path(mlflow.artifacts.download_artifacts(TODAYS, dst_path=str(tmp_path)))
    card = (folder / "artifacts" / "model_card.md").read_text()
    described = client(tmp_path).get_model_version("codec", "1").description
    assert described == card
    assert card.startswith("# wcae, model ")
    requirements = (folder / "requirements.txt").read_text().splitlines()
    names = {line.partition("==")[0] for line in requirements}
    assert {"mlflow-skinny", "onnxruntime"} <= names
    assert not names & {"mlflow", "torch", "pywavelets"}
    model = mlflow.pyfunc.load_model(str(folder))
    example = (folder / "serving_input_example.json").read_text()
    [stream] = mlflow.models.validate_serving_input(str(folder), example)
    assert decode_rgb(model.predict([stream])[0]).shape == (64, 64, 3)
    with pytest.raises(mlflow.MlflowException, match="picture"):
        model.predict([b"neither"])


def test_a_long_card_is_described_as_far_as_mlflow_holds_it(
    make_codec: Callable[..., Codec], mlflow_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    checkpoint.save(make_codec("nowcae"), tmp_path / "codec.safetensors", step=3)
    long = Evidence(data=[DataSet("training", f"set {place}", None, "long " * 50) for place in range(20)])
    with Run(tmp_path, "release", "long", {}) as run:
        RegisteredModel(tmp_path, "long").add(tmp_path / "codec.safetensors", run.id, {}, long)
    described = client(tmp_path).get_model_version("long", "1").description
    assert described is not None
    assert len(described) <= 5000
    assert described.endswith("| steps of training | 3 |\n\nThe rest is in artifacts/model_card.md.")


def test_a_codec_that_takes_torch_is_registered_for_it(
    make_codec: Callable[..., Codec], mlflow_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    checkpoint.save(make_codec("mlp_lossless"), tmp_path / "codec.safetensors")
    with Run(tmp_path, "release", "lossless", {}) as run:
        RegisteredModel(tmp_path, "lossless").add(tmp_path / "codec.safetensors", run.id, {})
    folder = Path(mlflow.artifacts.download_artifacts("models:/lossless/1", dst_path=str(tmp_path / "files")))
    assert not (folder / "artifacts" / "exported").exists()
    assert {"mlflow", "torch", "pywavelets"} <= {
        line.partition("==")[0] for line in (folder / "requirements.txt").read_text().splitlines()
    }
    [stream] = mlflow.pyfunc.load_model(str(folder)).predict([(small := encode_png(np.zeros((8, 8, 3), np.uint8)))])
    [png] = mlflow.pyfunc.load_model(str(folder)).predict([stream])
    assert np.array_equal(decode_rgb(png), decode_rgb(small))


@pytest.mark.parametrize("uri", [TODAYS, OTHER])
@pytest.mark.usefixtures("versions")
def test_no_file_holds_a_path_of_the_machine(uri: str, tmp_path: Path) -> None:
    import mlflow

    folder = Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(tmp_path)))
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {"MLmodel", "pyfunc_model.py", "requirements.txt"} <= {path.name for path in files}
    for path in files:
        for place in (str(ROOT), tempfile.gettempdir(), sys.prefix, str(Path.home() / "")):
            assert place.encode() not in path.read_bytes(), path


def test_a_version_carries_what_its_codec_needs_alone(tmp_path: Path) -> None:
    for name in ("wcae", "minnen"):
        path = write_code(name, tmp_path)
        with ZipFile(path) as archive:
            files = {file.removeprefix(f"{path.stem}/") for file in archive.namelist()}
        assert {f"codecs/variants/{name}.py", "codecs/deployed.py", "data/image_files.py", "__init__.py"} <= files
        assert [file for file in files if "/variants/" in file and "__init__" not in file] == [
            f"codecs/variants/{name}.py"
        ]
        assert {file.partition("/")[0] for file in files if "/" in file} == {
            "codecs", "coding", "data", "entropy", "layers", "storage"
        }  # fmt: skip
        assert "storage/remote.py" not in files
        content = path.read_bytes()
        assert write_code(name, tmp_path).read_bytes() == content


EVERY_CODE = """
import sys
from pathlib import Path
from pipeline.registry.pyfunc_model import _import_package
sys.modules["components"] = None  # so that an import of it fails
for path in map(Path, sys.argv[1:]):
    _import_package(path)
"""


def test_the_code_of_every_codec_is_whole(python: Forks, tmp_path: Path) -> None:
    paths = [write_code(name, tmp_path) for name in CODECS]
    assert len({*paths}) == len(CODECS)
    python.well("-c", EVERY_CODE, *map(str, paths), cwd=ROOT)


@pytest.mark.parametrize("model", [OTHER, None], ids=["named", "looked up"])
def test_the_command_line_decodes_with_the_code_of_the_version(
    model: str | None, versions: Versions, photograph: Rgb, tmp_path: Path
) -> None:
    picture, stream, decoded = (str(tmp_path / name) for name in ("in.png", "s.rw", "out.png"))
    Path(picture).write_bytes(encode_png(photograph))
    compress(picture, stream, model=OTHER)
    assert Path(stream).read_bytes() == versions.coders[1].encode(photograph)
    decompress(stream, decoded, model=model)
    todays = versions.coders[1].decode(Path(stream).read_bytes())
    assert np.array_equal(decode_rgb(Path(decoded).read_bytes()), negative(todays))


def test_an_error_of_the_code_of_a_version_is_one_line(
    versions: Versions, python: Forks, photograph: Rgb, tmp_path: Path
) -> None:
    (tmp_path / "s.rw").write_bytes(versions.coders[0].encode(photograph))
    files = (str(tmp_path / "s.rw"), str(tmp_path / "out.png"))
    done = python("pipeline.cli", "decompress", *files, "--model", OTHER, cwd=ROOT, environment={**os.environ})
    said = done.stderr.decode()
    assert (done.returncode, done.stdout) == (2, b"")
    assert said.startswith(f"error: {tmp_path / 's.rw'}: this stream was written by model ")
    assert said.count("\n") == 1
    assert not (tmp_path / "out.png").exists()


def test_a_version_without_code_of_its_own_is_run_by_todays(
    versions: Versions, photograph: Rgb, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        coder = DeployedCoder(registered_codec(ROOT, WITHOUT))
    assert f"{WITHOUT} has no code of its own: today's code runs it, which may decode differently" in caplog.text
    stream = coder.encode(photograph)
    assert stream == versions.coders[2].encode(photograph)
    assert np.array_equal(coder.decode(stream), versions.coders[2].decode(stream))


@pytest.mark.usefixtures("versions")
def test_loading_leaves_nothing_on_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    registered_codec(ROOT, TODAYS)
    assert not list(tmp_path.iterdir())


def negative(rgb: Rgb) -> Rgb:
    return 255 - rgb


def test_the_newest_of_versions_with_equal_weights_decodes_a_stream(
    versions: Versions, run_other_code: Callable[..., str], photograph: Rgb, tmp_path: Path
) -> None:
    codec = versions.coders[0].codec
    checkpoint.save(codec, tmp_path / "again.safetensors")
    stream = versions.coders[0].encode(photograph)
    ours = DeployedCoder(codec_that_wrote(tmp_path, "wcae", codec.model_hash())).decode(stream)
    run_other_code(
        REGISTER.replace('"codec"', '"later"'), str(tmp_path / "again.safetensors"), codec.model_hash().hex()
    )
    try:
        client(tmp_path).update_model_version("codec", "1", "described last")  # MLflow's search begins with it
        others = DeployedCoder(codec_that_wrote(tmp_path, "wcae", codec.model_hash())).decode(stream)
    finally:
        client(tmp_path).delete_registered_model("later")
    assert np.array_equal(ours, versions.coders[0].decode(stream))
    assert np.abs(ours.astype(int) - others).max() > 50
