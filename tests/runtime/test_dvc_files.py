"""What a stage reads is what dvc.lock says, and whatever decides its bytes is in its name."""

import hashlib
import os

import pytest
import yaml

from tests.helpers.tiny_sources import REPOSITORY, write_params
from transfer.runtime.dvc_files import (
    checksum,
    described_stages,
    folder_listing,
    input_fingerprint,
    locked_stages,
    matrix_items,
    read_stage,
    stage_names,
    verify_inputs,
)
from transfer.runtime.errors import PipelineError

MD5_OF_DATA = "8d777f385d3dfec8815d20f7496026dc"


@pytest.fixture
def stage(project, monkeypatch):
    """The stage `train` reads data.npy, which the stage `extract` wrote,
    and images, which the user brought."""
    monkeypatch.setenv("DVC_STAGE", "train")
    checksum.cache_clear()
    deps = ["data.npy", "images", "train.py"]
    (project / "dvc.yaml").write_text(
        yaml.safe_dump(
            {"stages": {"train": {"deps": deps, "params": ["train_head", "backbone.name"]}}}
        )
    )
    outs = [{"path": "data.npy", "md5": MD5_OF_DATA, "size": 4}]
    (project / "dvc.lock").write_text(
        yaml.safe_dump({"stages": {"extract": {"outs": outs}, "split": {}}})
    )
    for name in deps:
        (project / name).write_bytes(b"data")
    write_params(project)
    return project


def test_sound_inputs_pass(stage):
    verify_inputs("train")


def test_a_flipped_bit_that_dvc_cannot_see_is_named_with_what_to_do(stage):
    before = (stage / "data.npy").stat()
    (stage / "data.npy").write_bytes(b"dataX"[1:])
    os.utime(stage / "data.npy", ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(PipelineError) as error:
        verify_inputs("train")
    assert str(error.value).startswith("data.npy is not what dvc.lock says (md5 ")
    assert f"instead of {MD5_OF_DATA})" in str(error.value)
    assert "`make verify` says how to get it back" in str(error.value)
    assert "`dvc commit data.npy` keeps it" in str(error.value)


def test_a_file_named_by_a_parameter_is_verified_too(stage):
    text = (stage / "dvc.yaml").read_text()
    (stage / "dvc.yaml").write_text(text.replace("data.npy", "data.${arrays.format}"))
    assert read_stage("train")["deps"] == ["data.npy", "images", "train.py"]
    verify_inputs("train")
    key = input_fingerprint("train")
    (stage / "data.npy").write_bytes(b"datb")
    checksum.cache_clear()
    assert input_fingerprint("train") != key
    with pytest.raises(PipelineError, match=r"data\.npy is not what dvc\.lock says"):
        verify_inputs("train")


@pytest.mark.parametrize("content", ["split: {}", "arrays: 1", "a: [", "x: 2020-99-99", ""])
def test_what_params_does_not_say_stays_as_dvc_yaml_has_it(stage, content):
    text = (stage / "dvc.yaml").read_text()
    (stage / "dvc.yaml").write_text(text.replace("data.npy", "data.${arrays.format}"))
    (stage / "params.yaml").write_text(content)
    assert read_stage("train")["deps"][0] == "data.${arrays.format}"


def in_a_folder(project, above: str, *names: str) -> None:
    """The stage reads the folder `above`, in which the stage before wrote the folder `made`."""
    described = yaml.safe_load((project / "dvc.yaml").read_text())
    described["stages"]["train"]["deps"] = [above]
    (project / "dvc.yaml").write_text(yaml.safe_dump(described))
    for name in names:
        (project / "above/made" / name).parent.mkdir(parents=True, exist_ok=True)
        (project / "above/made" / name).write_bytes(b"data")
    listing = folder_listing(dict.fromkeys(names, MD5_OF_DATA))
    md5 = f"{hashlib.md5(listing, usedforsecurity=False).hexdigest()}.dir"
    outs = [{"path": "above/made", "md5": md5, "size": 8, "nfiles": len(names)}]
    (project / "dvc.lock").write_text(yaml.safe_dump({"stages": {"extract": {"outs": outs}}}))


@pytest.mark.parametrize("above", ["above", "above/made"])
def test_a_flipped_bit_in_a_folder_is_named_too(stage, above):
    in_a_folder(stage, above, "a.npy", "deep/b.npy")
    verify_inputs("train")
    (stage / "above/made/deep/b.npy").write_bytes(b"datb")
    checksum.cache_clear()
    with pytest.raises(PipelineError, match=r"^above/made is not what dvc\.lock says"):
        verify_inputs("train")


@pytest.mark.parametrize("name", [".DS_Store", "deep/Thumbs.db", "@eaDir/a.npy/b.jpg", "own.bak"])
def test_what_dvc_ignores_in_a_folder_is_no_change_of_it(stage, name):
    """As a file manager leaves it there while a person looks at the folder."""
    in_a_folder(stage, "above", "a.npy", "deep/b.npy")
    ignored = (REPOSITORY / ".dvcignore").read_text(encoding="utf-8")
    (stage / ".dvcignore").write_text(f"{ignored}*.bak\n")
    (stage / "above/made" / name).parent.mkdir(parents=True, exist_ok=True)
    (stage / "above/made" / name).write_bytes(b"left behind")
    verify_inputs("train")
    (stage / "above/made/new.npy").write_bytes(b"data")
    with pytest.raises(PipelineError, match=r"^above/made is not what dvc\.lock says"):
        verify_inputs("train")


def test_a_stage_of_a_matrix_is_read_with_its_item(stage):
    stages = {
        "evaluate": {
            "matrix": {"model": ["head", "own"]},
            "cmd": "python -m stages.evaluate ${item.model}",
            "deps": ["models/${item.model}"],
        },
        "train": {"cmd": "python -m stages.train"},
    }
    (stage / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    (stage / "deploy").mkdir()
    (stage / "deploy/dvc.yaml").write_text(yaml.safe_dump({"stages": {"export": {"cmd": "x"}}}))
    assert stage_names(described_stages()) == ["evaluate@head", "evaluate@own", "train", "export"]
    assert read_stage("evaluate@own")["cmd"] == "python -m stages.evaluate own"
    assert read_stage("evaluate@own")["deps"] == ["models/own"]
    assert read_stage("evaluate")["deps"] == ["models/${item.model}"]
    assert read_stage("export") == {"cmd": "x"}
    assert matrix_items({"matrix": {"a": [1, 2], "b": ["x"]}}) == {
        "1-x": {"a": 1, "b": "x"},
        "2-x": {"a": 2, "b": "x"},
    }


def test_both_locks_are_read(stage):
    (stage / "deploy").mkdir()
    (stage / "deploy/dvc.lock").write_text("stages: {export: {cmd: x}}")
    assert list(locked_stages()) == ["extract", "split", "export"]


NO_STAGES = ["<<<<<<< HEAD\nstages: {}\n", "- stages", "", "stages: 5", "schema: '2.0'", "\xff"]


@pytest.mark.parametrize("content", NO_STAGES)
@pytest.mark.parametrize(
    ("name", "read", "advice"),
    [
        ("dvc.yaml", lambda: read_stage("train"), "correct it, or restore it from git"),
        ("dvc.lock", locked_stages, "`python -m transfer repair` repairs it"),
    ],
)
def test_a_file_of_dvcs_that_lists_no_stages_is_named(stage, name, read, advice, content):
    (stage / name).write_bytes(content.encode("latin-1"))
    with pytest.raises(PipelineError) as error:
        read()
    assert str(error.value).startswith(f"{name} cannot be read: ")
    assert str(error.value).endswith(f"; {advice}")


def test_what_no_stage_wrote_may_be_anything(stage):
    (stage / "images").write_bytes(b"other")
    verify_inputs("train")


def test_by_hand_a_stage_runs_in_any_state(stage, monkeypatch):
    (stage / "data.npy").write_bytes(b"other")
    monkeypatch.delenv("DVC_STAGE")
    verify_inputs("train")


def test_the_first_run_has_no_lock_yet(stage):
    (stage / "dvc.lock").unlink()
    verify_inputs("train")


def other_code(project):
    (project / "train.py").write_bytes(b"other code")


def other_data(project):
    (project / "data.npy").write_bytes(b"other")


def other_backbone(project):
    write_params(project, backbone={"name": "VGG19"})


def other_units(project):
    write_params(project, train_head={"units": 7})


@pytest.mark.parametrize("change", [other_code, other_data, other_backbone, other_units])
def test_whatever_decides_the_bytes_changes_the_key(stage, change):
    before = input_fingerprint("train")
    change(stage)
    checksum.cache_clear()
    assert input_fingerprint("train") != before


def test_a_folder_of_code_changes_the_key_and_what_tools_leave_in_it_does_not(stage):
    described = yaml.safe_load((stage / "dvc.yaml").read_text())
    described["stages"]["train"]["deps"].append("transfer")
    (stage / "dvc.yaml").write_text(yaml.safe_dump(described))
    (stage / ".dvcignore").write_bytes((REPOSITORY / ".dvcignore").read_bytes())
    (stage / "transfer/__pycache__").mkdir(parents=True)
    (stage / "transfer/deeper").mkdir()
    (stage / "transfer/deeper/one.py").write_bytes(b"code")
    keys = [input_fingerprint("train")]
    for name in ("__pycache__/one.cpython-311.pyc", "one.py~", ".one.py.swp", "#one.py#"):
        (stage / "transfer" / name).write_bytes(b"left behind")
    assert input_fingerprint("train") == keys[0]
    for name in ("new.py", "deeper/one.py"):
        (stage / "transfer" / name).write_bytes(b"other code")
        checksum.cache_clear()
        keys.append(input_fingerprint("train"))
    assert len({*keys}) == 3


@pytest.mark.parametrize(
    ("variable", "value"),
    [("KERAS_BACKEND", "jax"), ("ONEDNN_MAX_CPU_ISA", "SSE41"), ("OPENBLAS_CORETYPE", "Zen")],
)
def test_another_backend_or_kernel_has_other_checkpoints(stage, monkeypatch, variable, value):
    before = input_fingerprint("train")
    monkeypatch.setenv(variable, value)
    assert input_fingerprint("train") != before


def test_another_stages_parameters_and_another_folder_do_not_change_the_key(
    stage, tmp_path, monkeypatch
):
    before = input_fingerprint("train")
    write_params(stage, finetune={"epochs": 3}, backbone={"image_size": 96})
    assert input_fingerprint("train") == before
    elsewhere = stage.rename(tmp_path / "elsewhere")
    monkeypatch.chdir(elsewhere)
    checksum.cache_clear()
    assert input_fingerprint("train") == before
