"""The line that `make run` ends with: how many outputs are the bytes of the commit, and why others
are not."""

import copy
from pathlib import Path

import pytest
import yaml

from tests.helpers.tiny_pipeline import call
from transfer.commands import run
from transfer.commands.committed import NoCommitError, causes, read_committed, say

MACHINE = "Some processor (avx avx2), Python 3.11.2"


def entry(path: str, md5: str) -> dict:
    return {"path": path, "hash": "md5", "md5": md5, "size": 1}


def stage(
    name: str, deps: dict[str, str], outs: dict[str, str], params: dict, pins: dict[str, str]
) -> dict:
    return {
        "cmd": f"python -m stages.{name}",
        "deps": [entry(path, md5) for path, md5 in {**deps, f"stages/{name}.py": "c0de"}.items()],
        "params": {"params.yaml": params, "pins.yaml": pins},
        "outs": [entry(path, md5) for path, md5 in outs.items()],
    }


COMMITTED = {
    "split": stage(
        "split",
        {"images": "11"},
        {"manifest.csv": "22"},
        {"split": {"seed": 0}},
        {"pillow": "13.0.0"},
    ),
    "extract": stage(
        "extract",
        {"manifest.csv": "22"},
        {"features.npy": "33", "cut.npy": "34"},
        {},
        {"keras": "3.15.1"},
    ),
    "train": stage(
        "train",
        {"features.npy": "33"},
        {"model.h5": "44"},
        {"train.units": 256},
        {"keras": "3.15.1"},
    ),
    "report": stage("report", {"model.h5": "44"}, {"report.html": "55"}, {}, {"jinja2": "3.1.6"}),
}


def changed(outs: dict[str, str], **params: object) -> dict[str, dict]:
    """The committed stages with other hashes of these outputs, wherever they are named, and
    parameters of `train`."""
    stages = copy.deepcopy(COMMITTED)
    for one in stages.values():
        for each in [*one["deps"], *one["outs"]]:
            each["md5"] = outs.get(each["path"], each["md5"])
    stages["train"]["params"]["params.yaml"] |= {
        f"train.{name}": value for name, value in params.items()
    }
    return stages


def test_all_outputs_are_those_of_the_commit():
    assert (
        say(COMMITTED, COMMITTED, MACHINE)
        == "All 5 outputs are the bytes of the commit (dvc.lock in HEAD)."
    )


def test_another_processor_is_named_if_nothing_else_has_changed():
    """The report is made from the model, whose bits are others: that is the machine's doing too."""
    said = say(changed({"model.h5": "45", "report.html": "56"}), COMMITTED, MACHINE)
    assert said == (
        "3 of 5 outputs are the bytes of the commit (dvc.lock in HEAD); not model.h5 and "
        "report.html: all that they are made from is the "
        "commit's, so this machine computes other last bits: Some processor (avx avx2), Python "
        "3.11.2."
    )
    assert "\n" not in said


def test_a_changed_parameter_is_named_and_the_machine_is_not():
    said = say(
        changed({"model.h5": "45", "report.html": "56"}, units=6, rate=0.1), COMMITTED, MACHINE
    )
    assert said == (
        "3 of 5 outputs are the bytes of the commit (dvc.lock in HEAD); not model.h5 and "
        "report.html: train.units is 6 in params.yaml, "
        "256 in the commit and train.rate is 0.1 in params.yaml, absent in the commit."
    )


def test_a_parameter_of_several_stages_is_named_once():
    stages, committed = changed({"model.h5": "45", "report.html": "56"}), changed({})
    for content, units in ((stages, 6), (committed, 256)):
        for name in ("train", "report"):
            content[name]["params"]["params.yaml"] = {"train": {"units": units}}
    assert say(stages, committed, MACHINE).endswith(
        "; not model.h5 and report.html: train.units is 6 in params.yaml, 256 in the commit."
    )


def test_causes_of_both_kinds_are_listed_separately():
    """The features differ by the processor; the model has another parameter besides."""
    said = say(changed({"cut.npy": "35", "model.h5": "45"}, units=6), COMMITTED, MACHINE)
    assert said.startswith("3 of 5 outputs ")
    assert (
        "; not cut.npy: all that they are made from is the commit's, so this machine computes"
        in said
    )
    assert "; not model.h5: train.units is 6 in params.yaml, 256 in the commit." in said


def test_a_stage_that_the_commit_made_from_other_inputs_is_not_laid_on_the_machine():
    """`report` was not run again, or its lock not committed, after the model had changed."""
    committed = copy.deepcopy(COMMITTED)
    committed["report"]["deps"][0]["md5"] = "43"
    said = say(changed({"report.html": "56"}), committed, MACHINE)
    assert said.endswith(
        "; not report.html: the commit's report was made from another model.h5 than the commit's "
        "own."
    )


def test_a_parameter_that_changed_no_byte_is_not_blamed():
    """The split's seed is another, and its manifest the same."""
    stages = changed({"model.h5": "45"})
    stages["split"]["params"]["params.yaml"]["split"]["seed"] = 1
    assert [*causes("train", stages, COMMITTED)] == []
    assert [*causes("split", stages, COMMITTED)] == [
        "split.seed is 1 in params.yaml, 0 in the commit"
    ]


def test_causes_are_followed_through_the_outputs_that_differ():
    stages = changed({"manifest.csv": "23", "features.npy": "36", "model.h5": "45", "images": "12"})
    assert [*causes("report", stages, COMMITTED)] == ["images changed"]


def other_pin(stages: dict) -> str:
    stages["train"]["params"]["pins.yaml"]["keras"] = "3.16.0"
    return "keras is '3.16.0' in pins.yaml, '3.15.1' in the commit"


def no_pins_before(stages: dict) -> str:
    stages["train"]["params"]["more.yaml"] = {"x": None}
    return "x is None in more.yaml, absent in the commit"


def other_code(stages: dict) -> str:
    stages["train"]["deps"][-1]["md5"] = "c1de"
    return "stages/train.py changed"


def new_dependency(stages: dict) -> str:
    stages["train"]["deps"].append(entry("transfer/new.py", "01"))
    return "transfer/new.py changed"


def dropped_dependency(stages: dict) -> str:
    del stages["train"]["deps"][-1]
    return "stages/train.py changed"


def other_command(stages: dict) -> str:
    stages["train"]["cmd"] += " --fast"
    return "the command of train changed"


@pytest.mark.parametrize(
    "change",
    [other_pin, no_pins_before, other_code, new_dependency, dropped_dependency, other_command],
)
def test_every_change_by_a_person_is_named(change):
    stages = changed({"model.h5": "45"})
    expected = change(stages)
    assert [*causes("train", stages, COMMITTED)] == [expected]
    assert expected in say(stages, COMMITTED, MACHINE)
    assert MACHINE not in say(stages, COMMITTED, MACHINE)


def test_a_new_stage_and_one_that_is_gone_are_named():
    stages = {("learn" if name == "train" else name): each for name, each in changed({}).items()}
    stages["learn"]["outs"] = [entry("learned.h5", "66")]
    said = say(stages, COMMITTED, MACHINE)
    assert said == (
        "4 of 5 outputs are the bytes of the commit (dvc.lock in HEAD); not learned.h5: learn is "
        "not in the commit; "
        "not model.h5: no stage makes them any more."
    )


def test_long_lists_name_only_a_few():
    many = {f"{i}.csv": "00" for i in range(9)}
    stages = {"split": stage("split", many, {}, {}, {}), "many": stage("many", {}, many, {}, {})}
    said = say({"many": stages["many"]}, {"many": stages["many"] | {"outs": []}}, MACHINE)
    assert "; not 0.csv, 1.csv, 2.csv and 6 more: " in said


@pytest.fixture
def repository(project: Path) -> Path:
    """With a commit of a dvc.lock."""
    call("git", "init", "--quiet", cwd=project)
    (project / "dvc.lock").write_text(yaml.safe_dump({"stages": COMMITTED}))
    call("git", "add", "dvc.lock", cwd=project)
    call("git", "commit", "--quiet", "--message", "one", cwd=project)
    return project


def test_the_commits_lock_is_read_also_in_a_folder_of_the_repository(repository, monkeypatch):
    (repository / "dvc.lock").write_text("stages: {}")
    assert read_committed() == COMMITTED
    inner = repository / "inner"
    inner.mkdir()
    monkeypatch.chdir(inner)
    with pytest.raises(
        NoCommitError, match=r"git says: path 'inner/dvc\.lock' does not exist in 'HEAD'"
    ):
        read_committed()
    (inner / "dvc.lock").write_text("stages: {split: {}}")
    call("git", "add", "dvc.lock", cwd=inner)
    call("git", "commit", "--quiet", "--message", "two", cwd=inner)
    assert read_committed() == {"split": {}}


def no_git(project: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("PATH", str(project))
    return "git is not installed"


def no_repository(project: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (project / ".git").rename(project / "git")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(project.parent))
    return "git says: not a git repository (or any of the parent directories): .git"


def no_commit(project: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    call("git", "checkout", "--quiet", "--orphan", "other", cwd=project)
    return "git says: invalid object name 'HEAD'."


def no_lock(project: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    call("git", "rm", "--quiet", "--cached", "dvc.lock", cwd=project)
    call("git", "commit", "--quiet", "--message", "two", cwd=project)
    return "git says: path 'dvc.lock' exists on disk, but not in 'HEAD'"


@pytest.mark.parametrize("way", [no_git, no_repository, no_commit, no_lock])
def test_without_a_committed_lock_the_line_says_why(repository, monkeypatch, way):
    reason = way(repository, monkeypatch)
    assert (
        run.say_of_commit()
        == f"Whether the outputs are the bytes of a commit is not known: {reason}."
    )


@pytest.mark.parametrize("content", ["stages: [", "- 1", "{}", ""])
def test_a_damaged_committed_lock_is_reported(repository, content):
    (repository / "dvc.lock").write_text(content)
    call("git", "commit", "--quiet", "--all", "--message", "two", cwd=repository)
    with pytest.raises(NoCommitError, match=r"^dvc\.lock in HEAD cannot be read"):
        read_committed()


def test_the_line_names_this_machine(repository, monkeypatch):
    environment = {
        "processor": "Some",
        "instructions": ["avx", "avx2"],
        "c_library": "glibc 2.36",
        "python": "3.11.2",
        "variables": {"KERAS_BACKEND": "jax"},
    }
    monkeypatch.setattr(run, "describe_environment", lambda: environment)
    monkeypatch.setattr(run, "unlike_pins", lambda *_: ["keras 3.14.0 (3.15.1 in pins.yaml)"])
    (repository / "pins.yaml").write_text('keras: "3.15.1"\n')
    (repository / "dvc.lock").write_text(yaml.safe_dump({"stages": changed({"model.h5": "45"})}))
    assert run.say_of_commit().endswith(
        ": Some (avx avx2), glibc 2.36, Python 3.11.2, KERAS_BACKEND=jax, keras 3.14.0 (3.15.1 in "
        "pins.yaml)."
    )
    (repository / "dvc.lock").write_text(yaml.safe_dump({"stages": COMMITTED}))
    assert run.say_of_commit().startswith("All 5 outputs")
