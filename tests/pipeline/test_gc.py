"""`ratewright gc` on a finished run: real git, DVC's cache, MLflow on sqlite with a registered version."""

import hashlib
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.paths import Layout
from pipeline.registry.client import client, experiment_id
from pipeline.registry.loading import registered_codec
from pipeline.registry.models import CHALLENGER, CHAMPION
from pipeline.schedule.git import Repository
from pipeline.schedule.sweeps import experiment_clone
from tests.pipeline.conftest import TARGET_BPP, Checkout

pytestmark = [pytest.mark.usefixtures("own_mlflow"), pytest.mark.filterwarnings("ignore")]
MODEL = f"image-codec-{TARGET_BPP}bpp"
OLD = time.time() - 20 * 24 * 3600


@pytest.fixture
def checkout(finished: Checkout, tmp_path: Path) -> Checkout:
    copy = finished.copy_to(tmp_path / "checkout")
    return replace(copy, environment={**copy.environment, "RATEWRIGHT_SCRATCH": str(tmp_path / "scratch")})


def written(path: Path, text: str = "some bytes", when: float = OLD) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (when, when))
    return path


def cached(checkout: Checkout, text: str) -> Path:
    """An object of the cache, with its .dvc file `thing.dvc` in the work tree."""
    (checkout.root / "thing").write_text(text)
    checkout.dvc("add", "--quiet", "thing")
    md5 = hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
    return checkout.root / ".dvc" / "cache" / "files" / "md5" / md5[:2] / md5[2:]


def forget(checkout: Checkout) -> None:
    for path in ("thing", "thing.dvc", ".gitignore"):
        (checkout.root / path).unlink()
    checkout.run("git", "checkout", "-q", ".gitignore")


def ref(checkout: Checkout, name: str, when: float, commit: str = "HEAD") -> str:
    full = f"refs/ratewright/{name}"
    checkout.run("git", "update-ref", full, commit)
    os.utime(checkout.root / ".git" / full, (when, when))
    return full


def mlflow_run(root: Path, status: str, when: float) -> tuple[str, Path]:
    """A run with an artefact: its id, and the folder of its artefacts."""
    found = client(root)
    run = found.create_run(experiment_id(found), run_name=f"train {status}")
    found.log_text(run.info.run_id, "weights", "file.txt")
    if status != "RUNNING":
        found.set_terminated(run.info.run_id, status, end_time=int(when * 1000))
    return run.info.run_id, Path(run.info.artifact_uri.removeprefix("file://"))


def digest(*folders: Path) -> str:
    """A hash over the names and contents of all files, locks and lookup caches of DVC left out."""
    found = hashlib.sha256()
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and ".dvc/tmp" not in str(path) and path.suffix not in (".lock", ".pyc"):
                found.update(f"{path}\n".encode() + path.read_bytes())
    return found.hexdigest()


def test_a_finished_run_has_nothing_to_delete(checkout: Checkout) -> None:
    assert checkout.ratewright("gc") == "nothing to delete\n"


def test_registered_versions_stay_whatever_their_aliases_and_runs(checkout: Checkout) -> None:
    """Neither champion nor challenger, its release marked as failed, its variant gone from params.yaml."""
    found = client(checkout.root)
    for alias in (CHAMPION, CHALLENGER):
        found.delete_registered_model_alias(MODEL, alias)
    release = str(found.get_model_version(MODEL, "1").run_id)
    found.set_terminated(release, "FAILED", end_time=int(OLD * 1000))

    def without_wcae(document: dict[str, dict[str, object]]) -> None:
        document["variants"]["nowcae"] = document["variants"].pop("wcae")

    checkout.change_params(without_wcae)
    written(checkout.root / "models" / "removed" / "trained.safetensors")
    said = checkout.ratewright("gc", "--yes")
    assert "models/removed" in said
    assert "wcae" not in said
    assert (checkout.root / "models" / "wcae" / "calibrated.safetensors").exists()
    assert registered_codec(checkout.root, f"models:/{MODEL}/1").name == "wcae"


def test_what_failed_goes_and_what_goes_on_stays(checkout: Checkout, tmp_path: Path) -> None:
    root, recent = checkout.root, time.time()
    unneeded = cached(checkout, "of no commit")
    of_failed = cached(checkout, "of a failed run")
    repository = Repository(root)
    lost = repository.commit([repository.head()], {"thing.dvc": (root / "thing.dvc").read_bytes()}, "lost")
    of_running = cached(checkout, "of a running run")
    goes_on = repository.commit([repository.head()], {"thing.dvc": (root / "thing.dvc").read_bytes()}, "goes on")
    forget(checkout)
    failed, running = ref(checkout, "failed", OLD, lost), ref(checkout, "running", recent, goes_on)
    finished = ref(checkout, "done", recent)
    checkout.run("git", "tag", "retrain/done")
    _, old_artefacts = mlflow_run(root, "FAILED", OLD)
    stay = [
        mlflow_run(root, status, when)[1] for status, when in (("FAILED", recent), ("RUNNING", 0), ("FINISHED", OLD))
    ]
    clone = tmp_path / "scratch" / "run" / "train-wcae"
    Repository.clone(str(root), clone)
    os.utime(clone, (OLD, OLD))
    used = tmp_path / "scratch" / "run" / "train-nowcae"
    Repository.clone(str(root), used)
    gone = [
        unneeded, of_failed, old_artefacts, clone,
        written(root / "models" / "removed" / "trained.safetensors").parent,
        written(root / "work" / "train" / "removed" / "state.safetensors").parent,
        written(root / "models" / "wcae" / ".trained.safetensors.ab12cd_9"),
    ]  # fmt: skip
    stay += [
        of_running, used,
        written(root / "work" / "train" / "wcae" / "state.safetensors"),
        written(root / "models" / "wcae" / ".history.jsonl.ab12cd_9", when=recent),
        root / "models" / "wcae" / "trained.safetensors",
    ]  # fmt: skip
    refs = checkout.run("git", "for-each-ref")

    before = digest(root, tmp_path / "scratch")
    said = checkout.ratewright("gc")
    assert digest(root, tmp_path / "scratch") == before
    assert checkout.run("git", "for-each-ref") == refs
    assert "`ratewright gc --yes` frees" in said
    for name in ("refs/ratewright/failed", "2 objects of DVC's cache", "train FAILED", "refs/ratewright/done"):
        assert name in said

    said = checkout.ratewright("gc", "--yes")
    assert "freed" in said
    assert [path for path in gone if path.exists()] == []
    assert [path for path in stay if not path.exists()] == []
    left = checkout.run("git", "for-each-ref", "--format=%(refname)")
    assert running in left
    assert "ratewright-gc" not in left
    assert failed not in left
    assert finished not in left
    assert checkout.ratewright("gc", "--yes") == "nothing to delete\n"
    assert "wcae" not in checkout.dvc("status")


def test_unfinished_experiments_keep_what_they_need(checkout: Checkout) -> None:
    """Until nobody has tried one again for 15 days; and a stage that runs in a clone is not disturbed."""
    root, sweep = checkout.root, Layout(checkout.root).sweep
    output = cached(checkout, "of an unfinished experiment")
    lock = (root / "dvc.lock").read_text() + f"# md5: {output.parent.name}{output.name}\n"
    forget(checkout)
    recent, forgotten = sweep / "recent", sweep / "forgotten"
    for folder in (recent, forgotten):
        experiment_clone.prepare(root, folder, Repository(root).head(), (root / "params.yaml").read_text(), lock)
    os.utime(forgotten, (OLD, OLD))
    in_use = recent / ".dvc" / "tmp" / "rwlock"
    in_use.parent.mkdir(exist_ok=True)
    in_use.write_text(json.dumps({"write": {str(recent / "models"): {"pid": os.getpid(), "cmd": "dvc repro"}}}))
    assert f"{recent / 'models'} is in use by process {os.getpid()}" in checkout.refused("gc", "--yes")
    assert forgotten.exists()
    in_use.unlink()
    assert "no attempt for" in checkout.ratewright("gc", "--yes")
    assert not forgotten.exists()
    assert recent.exists()
    assert output.exists()
    assert checkout.ratewright("gc") == "nothing to delete\n"


def test_a_running_stage_is_not_disturbed(checkout: Checkout) -> None:
    """A stage that DVC runs holds DVC's lock of its outputs."""
    name = "dvc.yaml"
    started = checkout.root / "started"
    (checkout.root / "other").mkdir()
    (checkout.root / "other" / name).write_text(
        f"stages:\n  slow:\n    cmd: touch {started} && cat {checkout.root / 'pipe'} > out\n    outs: [out]\n"
    )
    os.mkfifo(checkout.root / "pipe")
    command = [sys.executable, "-m", "dvc", "repro", f"other/{name}"]
    with subprocess.Popen(command, cwd=checkout.root, env=checkout.environment, stdout=subprocess.DEVNULL) as running:
        try:
            deadline = time.monotonic() + 600
            while not started.exists() and running.poll() is None and time.monotonic() < deadline:
                time.sleep(0.05)
            assert started.exists()
            said = checkout.refused("gc", "--yes")
        finally:
            if running.poll() is None:
                (checkout.root / "pipe").write_text("done")
    assert "in use by process" in said
    assert said.count("\n") == 1
