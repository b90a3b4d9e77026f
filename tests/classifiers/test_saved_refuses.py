"""Classifiers on disk that were made to do harm: nothing in them is run,
and no other file is read."""

import base64
import json
import marshal
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from transfer.classifiers.head import build_head
from transfer.classifiers.saved import Classifier, load_classifier, save_classifier
from transfer.runtime.errors import PipelineError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    head = build_head((1, 1, 4), units=3, dropout=0.5, normalize=False, n_classes=3)
    save_classifier(
        "head",
        Classifier(head, "features", ["a", "b", "c"], 3),
        pd.DataFrame({"loss": [1.0]}),
        tmp_path,
    )
    return tmp_path


def change_description(folder: Path, change: Callable[[dict], None]) -> None:
    description = json.loads((folder / "head/model.json").read_text(encoding="utf-8"))
    change(description)
    (folder / "head/model.json").write_text(json.dumps(description), encoding="utf-8")


def code_of(function: Callable) -> dict:
    """A function as Keras would keep that of a Lambda layer: its marshalled code."""
    code = base64.b64encode(marshal.dumps(function.__code__)).decode()
    return {"class_name": "__lambda__", "config": {"code": code, "defaults": None, "closure": None}}


@pytest.mark.parametrize(
    "layer",
    [
        {
            "class_name": "Lambda",
            "module": "keras.layers",
            "config": {"function": code_of(lambda x: __import__("os").mkdir("ran"))},
        },
        {"class_name": "mkdir", "module": "os", "config": {"path": "ran"}},
        {"class_name": "function", "module": "os", "config": "mkdir"},
        {
            "class_name": "get_file",
            "module": "keras.utils",
            "config": {"origin": "file:///etc/hostname"},
        },
        {"class_name": "TestCase", "module": "test_that_was_never_imported", "config": {}},
    ],
)
def test_a_description_that_holds_code_is_refused_and_not_run(folder, monkeypatch, layer):
    monkeypatch.chdir(folder)
    files = sorted(folder.iterdir())

    def put_in(description: dict) -> None:
        description["model"]["config"]["layers"][1] |= layer | {"registered_name": None}

    change_description(folder, put_in)
    with pytest.raises(PipelineError, match="are damaged or do not belong together"):
        load_classifier("head", folder)
    assert sorted(folder.iterdir()) == files


@pytest.mark.parametrize(
    "wrong",
    [
        {"input_kind": "all"},
        {"input_kind": []},
        {"epoch": "3"},
        {"epoch": None},
        {"class_names": "ab"},
        {"class_names": [1]},
        {"model": []},
    ],
)
def test_a_description_that_no_stage_writes_is_refused(folder, wrong):
    change_description(folder, lambda description: description.update(wrong))
    with pytest.raises(
        PipelineError,
        match=r"head/model\.json and model\.weights\.h5 are damaged or do not belong together",
    ):
        load_classifier("head", folder)


def test_a_description_without_an_epoch_is_refused(folder):
    change_description(folder, lambda description: description.pop("epoch"))
    with pytest.raises(PipelineError, match="do not belong together"):
        load_classifier("head", folder)


def test_a_model_larger_than_its_weights_is_refused_before_memory_is_taken(folder):

    def grow(description: dict) -> None:
        logits = description["model"]["config"]["layers"][-1]
        logits["config"]["units"] = 10**12

    change_description(folder, grow)
    with pytest.raises(
        PipelineError, match="a model of [0-9,]{15,} numbers, and [0-9,]+ bytes of weights"
    ):
        load_classifier("head", folder)


@pytest.mark.parametrize("kind", ["link", "storage"])
def test_weights_that_lie_in_another_file_are_refused(folder, kind):
    (folder / "secret").write_bytes(bytes(1000))
    with h5py.File(folder / "head/model.weights.h5", "r+") as file:
        names: list[str] = []
        file.visititems(
            lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None
        )
        shape = file[names[0]].shape
        del file[names[0]]
        if kind == "link":
            file[names[0]] = h5py.ExternalLink(str(folder / "other.h5"), "/secret")
        else:
            file.create_dataset(
                names[0], shape, "u1", external=[(str(folder / "secret"), 0, h5py.h5f.UNLIMITED)]
            )
    with h5py.File(folder / "other.h5", "w") as other:
        other["secret"] = np.zeros(shape, np.float32)
    with pytest.raises(PipelineError, match="Not allowed: H5 file with"):
        load_classifier("head", folder)


def test_weights_that_lack_any_part_are_refused(folder):
    whole = (folder / "head/model.weights.h5").read_bytes()
    names: list[str] = []
    with h5py.File(folder / "head/model.weights.h5") as file:
        file.visititems(
            lambda name, _: names.append(name) if name.startswith("layers/dense") else None
        )
    assert len(names) == 8, "two layers, each with a group of a kernel and a bias"
    for name in names:
        (folder / "head/model.weights.h5").write_bytes(whole)
        with h5py.File(folder / "head/model.weights.h5", "r+") as file:
            del file[name]
        with pytest.raises(PipelineError, match="do not belong together"):
            load_classifier("head", folder)
