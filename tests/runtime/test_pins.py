"""pins.yaml has the locked versions of the packages that decide bytes, and a stage warns if it runs
with others."""

import json
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

from tests.helpers.tiny_sources import REPOSITORY, write_params
from transfer.runtime import pins
from transfer.runtime import stage as stage_program
from transfer.runtime.dvc_files import checksum, input_fingerprint, packages_of, read_pins
from transfer.runtime.errors import PipelineError
from transfer.runtime.pins import (
    DECIDE_BYTES,
    LOCKS,
    NOT_INSTALLED,
    in_use,
    installed,
    read_locks,
    unlike_pins,
    write_pins,
)

PINNED = ["keras", "numpy", "tensorflow"]


def test_pins_are_those_of_the_lock():
    """If not: `make lock`,
    or `python -m transfer.runtime.pins` where the lock is as it should be."""
    locked = read_locks(REPOSITORY / lock for lock in LOCKS)
    assert read_pins(REPOSITORY / "pins.yaml") == {name: locked[name] for name in DECIDE_BYTES}


def test_make_lock_writes_them():
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    recipe = makefile[makefile.index("\nlock:") :].split("\n\n")[0]
    assert recipe.strip().endswith("-m transfer.runtime.pins")  # all locks are made before


def test_a_lock_is_read_without_comments_and_hashes(tmp_path):
    lock = tmp_path / "requirements.txt"
    lock.write_text(
        "# numpy==1.0\n"
        "a-b==2.0 ; python_full_version < '3.12' \\\n    --hash=sha256:00 \\\n    "
        "--hash=sha256:01\n"
        "c.d==26.10 \\\n    --hash=sha256:00\n"
    )
    extra = tmp_path / "extra.txt"
    extra.write_text("a-b==2.0 \\\n    --hash=sha256:00\ne==1.0 \\\n    --hash=sha256:00\n")
    assert read_locks([lock, extra]) == {"a-b": "2.0", "c.d": "26.10", "e": "1.0"}


def test_a_version_for_each_python_is_refused(tmp_path):
    """NumPy 2.5.5 and SciPy 1.18.1 drew another feature map than NumPy 2.4.6 and SciPy 1.17.1."""
    lock = tmp_path / "requirements.txt"
    lock.write_text(
        "a==2.0 ; python_full_version < '3.12' \\\n    --hash=sha256:00\n"
        "a==3.0 ; python_full_version >= '3.12' \\\n    --hash=sha256:00\n"
    )
    with pytest.raises(PipelineError, match=r"requirements\.txt: a is pinned as 2\.0 and 3\.0; "):
        read_locks([lock])


def test_versions_are_written_as_text_and_in_one_order(tmp_path):
    write_pins(dict.fromkeys(reversed(DECIDE_BYTES), "1.10"), tmp_path / "pins.yaml")
    assert [*read_pins(tmp_path / "pins.yaml").items()] == [(name, "1.10") for name in DECIDE_BYTES]


def test_a_package_that_is_not_locked_is_no_pin(tmp_path):
    with pytest.raises(KeyError, match=DECIDE_BYTES[0]):
        write_pins({}, tmp_path / "pins.yaml")
    assert not [*tmp_path.iterdir()]


BACKENDS = [
    (None, ["tensorflow"]),
    ("tensorflow", ["tensorflow"]),
    ("jax", ["jax", "jaxlib"]),
    ("torch", ["torch"]),
    ("x", []),
]


@pytest.mark.parametrize(("backend", "used"), BACKENDS)
def test_the_backends_packages_are_those_of_the_backend_in_use(monkeypatch, backend, used):
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    if backend:
        monkeypatch.setenv("KERAS_BACKEND", backend)
    assert in_use(PINNED) == ["keras", "numpy", *used]
    assert {*in_use()} == {*DECIDE_BYTES} - {"tensorflow"} | {*used}


def test_a_missing_package_is_recorded_as_not_installed():
    assert installed(["numpy", "no-such-package"]) == {
        "numpy": version("numpy"),
        "no-such-package": NOT_INSTALLED,
    }


def test_what_is_installed_is_compared_with_the_pins():
    there = version("numpy")
    assert unlike_pins(["numpy"], {"numpy": there}) == []
    assert unlike_pins(["numpy"], {"numpy": "1.0"}) == [f"numpy {there} (1.0 in pins.yaml)"]
    assert unlike_pins(["no-such-package"], {"no-such-package": "1.0"}) == []
    assert unlike_pins(["numpy"], {"scipy": "1.0"}) == []


@pytest.mark.parametrize("content", ["- numpy", "numpy: 2.4", "numpy: [", "numpy: 2020-99-99", "5"])
def test_pins_that_are_no_list_of_versions_are_refused(tmp_path, content):
    (tmp_path / "pins.yaml").write_text(content)
    with pytest.raises(PipelineError, match=r"(?s)pins\.yaml.* restore it from git"):
        read_pins(tmp_path / "pins.yaml")


@pytest.fixture
def stage(project, monkeypatch) -> Path:
    """A stage `train` whose bytes PINNED decide, with the project's pins."""
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setattr(sys, "argv", ["stages/train.py"])
    described = {"desc": "Test", "params": ["train_head.units", {"pins.yaml": PINNED}]}
    (project / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"train": described}}))
    (project / "pins.yaml").write_bytes((REPOSITORY / "pins.yaml").read_bytes())
    write_params(project)
    checksum.cache_clear()
    return project


@pytest.fixture
def install(monkeypatch) -> Callable[..., None]:
    """Has other versions installed: `install(keras="1.0", tensorflow=None)`, None being absent."""

    def install(**versions: str | None) -> None:
        def other(name: str) -> str:
            if versions.get(name, "") is None:
                raise pins.PackageNotFoundError(name)
            return versions.get(name) or version(name)

        monkeypatch.setattr(pins, "version", other)

    return install


def pin(project: Path, name: str, pinned: str) -> None:
    content = read_pins(project / "pins.yaml") | {name: pinned}
    (project / "pins.yaml").write_text(yaml.safe_dump(content))


def test_a_stage_with_other_versions_than_the_pinned_ones_prints_a_warning_and_runs(
    stage, capsys, install
):
    install(keras="1.0")
    pin(stage, "keras", "3.15.1")
    pin(stage, "pillow", "1.0")
    done = []
    stage_program.run_stage(lambda: done.append(True))
    assert done
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        "train: warning: dvc.lock will name the versions of pins.yaml, but installed are keras "
        "1.0 (3.15.1 in pins.yaml)"
    )


@pytest.mark.parametrize("missing", ["pins.yaml", "dvc.yaml"])
def test_by_hand_a_stage_runs_without_pins(stage, capsys, missing, install):
    install(keras="1.0")
    (stage / missing).unlink()
    stage_program.run_stage(lambda: None)
    assert capsys.readouterr().err == ""


def test_pins_that_cannot_be_read_end_in_a_sentence(stage):
    (stage / "pins.yaml").write_text("numpy: 2.4")
    with pytest.raises(SystemExit, match="^train: pins.yaml: a version in quotes was expected"):
        stage_program.run_stage(lambda: None)


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_without_tensorflow_a_stage_on_another_backend_has_a_key_a_log_and_no_traceback(
    stage, monkeypatch, capsys, install, backend
):
    install(tensorflow=None, jax="0.1", jaxlib="0.1", torch="2.1")
    monkeypatch.setenv("KERAS_BACKEND", backend)
    before = input_fingerprint("train")
    stage_program.run_stage(lambda: None)
    packages = json.loads((stage / "logs/train.json").read_text())["environment"]["packages"]
    assert {*packages} == {*in_use()}
    assert (
        packages[backend] == {"jax": "0.1", "torch": "2.1"}[backend]
        and "tensorflow" not in packages
    )
    assert "warning" not in capsys.readouterr().err
    install(tensorflow=None, jax="0.2", jaxlib="0.1", torch="2.2")
    assert input_fingerprint("train") != before


def test_the_version_of_what_decides_the_stages_bytes_is_in_its_key_and_no_other_package_is(
    stage, install
):
    before = input_fingerprint("train")
    install(matplotlib="1.0", rich="1.0", scipy=None)
    assert input_fingerprint("train") == before
    for package in PINNED:
        install(**{package: "1.0"})
        assert input_fingerprint("train") != before, package
        install(**{package: None})
        assert input_fingerprint("train") != before, package


def test_packages_are_told_from_parameters(monkeypatch):
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    assert (
        packages_of({"params": ["split", {"other.yaml": ["x"]}, {"pins.yaml": PINNED}, "a.b"]})
        == PINNED
    )
    assert packages_of({}) == []
