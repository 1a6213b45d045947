"""The commits of a run: one that it uses and one with its result, also after retries and races."""

import logging
import shutil
import subprocess
from pathlib import Path

import pytest

from components.errors import RatewrightError
from pipeline.config import params
from pipeline.documents import RegistryRecord, write
from pipeline.schedule import run_commits
from pipeline.schedule.git import RUNS, Repository
from pipeline.schedule.plan import Plan, Request
from tests.small_profile import small_text

CHECKOUT = Path(__file__).resolve().parents[3]
RUN = "manual__2026-11-21T03:00:00+00:00"
NOTHING = Request()
LOCKS = ("schema: '2.0'\n# one\n", "schema: '2.0'\n# two\n")


def make(folder: Path) -> Repository:
    """A repository with the pipeline's declarations on main, and a dvc.lock beside them."""
    folder.mkdir()
    (folder / "dvc.yaml").write_text((CHECKOUT / "dvc.yaml").read_text())
    (folder / "params.yaml").write_text(small_text())
    (folder / "profiles").symlink_to(CHECKOUT / "profiles")
    (folder / ".git").parent.mkdir(exist_ok=True)
    repository = Repository(folder)
    repository.git("init", "--quiet", "--initial-branch=main")
    (folder / ".git" / "info" / "exclude").write_text("profiles\n")
    repository.git("config", "user.name", "test")
    repository.git("config", "user.email", "test@example.invalid")
    repository.git("add", "dvc.yaml", "params.yaml")
    repository.git("commit", "--quiet", "-m", "start")
    return repository


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("start") / "checkout").root


@pytest.fixture
def repository(start: Path, tmp_path: Path) -> Repository:
    return Repository(shutil.copytree(start, tmp_path / "checkout", symlinks=True))


@pytest.fixture(scope="module")
def after_a_run(start: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    repository = Repository(shutil.copytree(start, tmp_path_factory.mktemp("adopted") / "checkout", symlinks=True))
    finished(repository, prepared(repository, run_id="first"))
    return repository.root


@pytest.fixture
def adopted(after_a_run: Path, tmp_path: Path) -> Repository:
    """The same after a first run, which recorded the revisions of its sources."""
    return Repository(shutil.copytree(after_a_run, tmp_path / "checkout", symlinks=True))


def prepared(repository: Repository, request: Request = NOTHING, run_id: str = RUN) -> Plan:
    return run_commits.prepare(repository, "main", repository.head(), run_id, request)


def finished(repository: Repository, plan: Plan, lock: str = LOCKS[0], remote: str | None = None) -> str:
    """Finish a run whose stages wrote `lock`; the commit that its tag names."""
    (repository.root / "dvc.lock").write_text(lock)
    run_commits.finish(repository, plan, remote)
    commit = repository.commit_of(plan.tag)
    assert commit is not None
    return commit


def operator_commits(repository: Repository, path: str, text: str) -> str:
    (repository.root / path).write_text(text)
    repository.git("add", path)
    repository.git("commit", "--quiet", "-m", f"edit {path}")
    return repository.head()


def test_the_first_run_records_the_revisions_and_later_ones_use_the_tip(adopted: Repository) -> None:
    settings = params.load(adopted.root)
    assert all(dataset.revision for dataset in settings.datasets.values())
    plan = prepared(adopted)
    assert plan.commit == plan.base == adopted.head()
    assert "train@wcae" in plan.stages


def test_a_retried_prepare_finds_its_commit(repository: Repository) -> None:
    first = prepared(repository, Request(training_steps=5))
    operator_commits(repository, "notes.txt", "meanwhile")
    assert prepared(repository, Request(training_steps=5)) == first


def test_a_request_changes_what_it_names(adopted: Repository) -> None:
    plan = prepared(adopted, Request(variants=["wcae"], target_bpp=0.3, training_steps=7))
    settings = params.load(adopted.root)
    assert (list(settings.variants), settings.target_bpp) == (["wcae"], 0.3)
    assert settings.variants["wcae"].train.steps == 7
    assert "train@nowcae" not in plan.stages
    assert not plan.default_params
    assert "# " in (adopted.root / "params.yaml").read_text()


def test_a_profile_brings_its_own_stages(adopted: Repository, tmp_path: Path) -> None:
    plan = prepared(adopted, Request(profile="real", mirror=str(tmp_path)))
    assert "fetch@kodak" in plan.stages
    assert params.load(adopted.root).mirror == str(tmp_path)


def test_an_unknown_variant_or_profile_is_refused_and_nothing_is_written(repository: Repository) -> None:
    before = (repository.root / "params.yaml").read_bytes()
    for request in (Request(variants=["wcea"]), Request(profile="reel")):
        with pytest.raises(RatewrightError, match="there are"):
            prepared(repository, request)
    assert (repository.root / "params.yaml").read_bytes() == before
    assert not repository.git("for-each-ref", RUNS)


def test_edits_are_refused_but_the_files_of_an_unfinished_run_are_not(repository: Repository) -> None:
    run_commits.refuse_edits(repository)
    prepared(repository, Request(training_steps=5))
    (repository.root / "dvc.lock").write_text("schema: '2.0'\n")
    run_commits.refuse_edits(repository)
    (repository.root / "dvc.yaml").write_text("stages: {}\n")
    with pytest.raises(RatewrightError, match=r"dvc\.yaml"):
        run_commits.refuse_edits(repository)


def test_an_operators_params_are_not_overwritten(repository: Repository) -> None:
    with (repository.root / "params.yaml").open("a") as file:
        file.write("# mine\n")
    with pytest.raises(RatewrightError, match=r"params\.yaml"):
        run_commits.refuse_edits(repository)


def test_a_run_of_the_default_params_moves_the_branch_and_a_requested_one_does_not(adopted: Repository) -> None:
    commit = finished(adopted, prepared(adopted), LOCKS[0])
    assert adopted.head() == commit
    assert adopted.text(commit, "dvc.lock") == LOCKS[0]
    assert not adopted.changed_files()
    other = finished(adopted, prepared(adopted, Request(training_steps=5), "other"), LOCKS[1])
    assert adopted.head() == commit
    assert adopted.text(other, "dvc.lock") == LOCKS[1]
    assert "steps: 5\n" in adopted.text(other, "params.yaml")
    assert not adopted.changed_files()
    assert not adopted.git("for-each-ref", RUNS)


def test_the_commit_that_a_run_used_stays_in_its_history(repository: Repository) -> None:
    first = prepared(repository)
    assert first.commit != first.base
    theirs = operator_commits(repository, "notes.txt", "meanwhile")
    commit = finished(repository, first)
    assert repository.git("rev-parse", f"{commit}^1", f"{commit}^2").split() == [theirs, first.commit]


def test_finishing_again_changes_nothing(adopted: Repository) -> None:
    plan = prepared(adopted)
    commit = finished(adopted, plan, LOCKS[0])
    assert finished(adopted, plan, LOCKS[1]) == commit
    assert adopted.head() == commit


def test_the_commit_goes_on_top_of_what_an_operator_did_meanwhile(adopted: Repository) -> None:
    plan = prepared(adopted)
    theirs = operator_commits(adopted, "notes.txt", "meanwhile")
    commit = finished(adopted, plan, LOCKS[0])
    assert adopted.head() == commit
    assert adopted.git("rev-parse", f"{commit}^") == theirs
    assert adopted.text(commit, "notes.txt") == "meanwhile\n"


def test_a_branch_whose_pipeline_changed_stays(adopted: Repository, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    plan = prepared(adopted)
    theirs = operator_commits(adopted, "dvc.yaml", (adopted.root / "dvc.yaml").read_text() + "# changed\n")
    commit = finished(adopted, plan, LOCKS[0])
    assert adopted.head() == theirs
    assert adopted.git("rev-parse", f"{commit}^") == plan.commit
    assert "dvc.yaml changed meanwhile" in caplog.text


def test_the_decision_is_in_the_commits_message(adopted: Repository) -> None:
    record = RegistryRecord(
        model="image-codec-0.15bpp",
        version="2",
        aliases={"champion": "1"},
        decision="kept champion",
        why="worse by 1 dB",
        challenger=None,
        champion=None,
    )
    write(record, adopted.root / "registry.json")
    commit = finished(adopted, prepared(adopted))
    assert "image-codec-0.15bpp: kept champion\n\nworse by 1 dB" in adopted.git("log", "-1", "--format=%B", commit)


@pytest.fixture
def origin(adopted: Repository, tmp_path: Path) -> Path:
    """A bare repository that the checkout pushes to."""
    bare = tmp_path / "origin.git"
    subprocess.run(["git", "clone", "--quiet", "--bare", str(adopted.root), str(bare)], check=True)
    adopted.git("remote", "add", "origin", str(bare))
    adopted.git("fetch", "--quiet", "origin")
    return bare


def test_branch_and_tag_are_pushed_together(adopted: Repository, origin: Path) -> None:
    plan = prepared(adopted)
    commit = finished(adopted, plan, LOCKS[0], "origin")
    assert Repository(origin).commit_of("refs/heads/main") == commit
    assert Repository(origin).commit_of(plan.tag) == commit


def test_a_push_that_lost_a_race_is_made_again_on_the_new_tip(
    adopted: Repository, origin: Path, tmp_path: Path
) -> None:
    plan = prepared(adopted)
    other = Repository.clone(str(origin), tmp_path / "other")
    other.git("checkout", "--quiet", "main")
    other.git("config", "user.name", "test")
    other.git("config", "user.email", "test@example.invalid")
    theirs = operator_commits(other, "notes.txt", "meanwhile")
    # The branch moves between our fetch and our push: our own hook, run by the push, does it once.
    hook = adopted.root / ".git" / "hooks" / "pre-push"
    hook.write_text(
        f'#!/bin/sh\nrm "$0"\nunset $(git rev-parse --local-env-vars)\ngit -C {other.root} push -q origin main\n'
    )
    hook.chmod(0o755)
    commit = finished(adopted, plan, LOCKS[0], "origin")
    assert Repository(origin).commit_of("refs/heads/main") == commit
    assert Repository(origin).git("rev-parse", f"{commit}^") == theirs


def test_a_retry_after_the_push_finds_the_tag(adopted: Repository, origin: Path, tmp_path: Path) -> None:
    plan = prepared(adopted)
    commit = finished(adopted, plan, LOCKS[0], "origin")
    elsewhere = Repository.clone(str(origin), tmp_path / "elsewhere")
    elsewhere.git("checkout", "--quiet", "--detach", plan.commit)
    assert finished(elsewhere, plan, LOCKS[1], "origin") == commit
    assert Repository(origin).commit_of("refs/heads/main") == commit


def test_a_remote_that_is_gone_is_one_line(adopted: Repository) -> None:
    adopted.git("remote", "add", "origin", "/nowhere/at/all.git")
    with pytest.raises(RatewrightError, match="git fetch") as refused:
        finished(adopted, prepared(adopted), LOCKS[0], "origin")
    assert "\n" not in str(refused.value)
