"""Classifiers on disk: they are read back whole, and what is damaged or was made to do harm is
refused: nothing in it is run, and no other file is read."""

import base64
import json
import marshal
from collections.abc import Callable
from pathlib import Path

import h5py
import keras
import numpy as np
import pandas as pd
import pytest

from transfer.classifiers.head import build_head
from transfer.classifiers.names import history_file
from transfer.classifiers.saved import (
    Classifier,
    growing_history,
    load_classifier,
    predict_logits,
    save_classifier,
)
from transfer.runtime.errors import PipelineError

CLASSES, HISTORY = ["a", "b", "c"], pd.DataFrame({"epoch": [1, 2, 3], "loss": [1.0, 0.5, 1e-5]})
FEATURES = np.random.default_rng(0).random((5, 1, 1, 4), dtype=np.float32)


def head() -> keras.Model:
    keras.utils.set_random_seed(1)
    return build_head((1, 1, 4), units=3, dropout=0.5, normalize=False, n_classes=3)


def save_head() -> None:
    save_classifier("head", Classifier(head(), "features", CLASSES, 3), HISTORY)


@pytest.fixture
def folder(project) -> Path:
    """The folder models/, with a head in it."""
    save_head()
    return project / "models"


def test_a_saved_classifier_is_read_back_whole(folder):
    found = load_classifier("head")
    assert (predict_logits(found.model, FEATURES) == predict_logits(head(), FEATURES)).all()
    assert (found.input_kind, found.class_names, found.epoch) == ("features", CLASSES, 3)
    assert history_file("head").read_text() == "epoch,loss\n1,1.0\n2,0.5\n3,1e-05\n"


def test_equal_classifiers_are_equal_bytes(folder):
    def files() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (folder / "head").iterdir()}

    before = files()
    save_head()
    assert files() == before and len(before) == 3


@pytest.mark.parametrize(
    ("name", "content"),
    [("model.json", b"{}"), ("model.json", b"no JSON"), ("model.weights.h5", b"no HDF5")],
)
def test_a_damaged_classifier_is_named(folder, name, content):
    (folder / "head" / name).write_bytes(content)
    with pytest.raises(PipelineError, match="are damaged or do not belong together"):
        load_classifier("head")


def test_a_missing_classifier_says_how_to_get_it(project):
    with pytest.raises(
        PipelineError, match=r"head/model\.json is missing; run `dvc repro` or `dvc pull`"
    ):
        load_classifier("head")


def test_a_history_grows_while_a_training_runs_and_is_gone_when_it_fails(project):
    with pytest.raises(KeyboardInterrupt), growing_history("head") as show:
        show(HISTORY[:1])
        assert history_file("head").read_text() == "epoch,loss\n1,1.0\n"
        raise KeyboardInterrupt
    assert not history_file("head").exists()


def test_an_earlier_history_stays_until_the_new_model_is_whole(folder):
    before = history_file("head").read_text()
    with pytest.raises(KeyboardInterrupt), growing_history("head") as show:
        show(HISTORY[:1])
        raise KeyboardInterrupt
    assert history_file("head").read_text() == before


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
def test_a_description_that_holds_code_is_refused_and_not_run(folder, layer):
    files = sorted(Path().rglob("*"))

    def put_in(description: dict) -> None:
        description["model"]["config"]["layers"][1] |= layer | {"registered_name": None}

    change_description(folder, put_in)
    with pytest.raises(PipelineError, match="are damaged or do not belong together"):
        load_classifier("head")
    assert sorted(Path().rglob("*")) == files


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
        load_classifier("head")


def test_a_description_without_an_epoch_is_refused(folder):
    change_description(folder, lambda description: description.pop("epoch"))
    with pytest.raises(PipelineError, match="do not belong together"):
        load_classifier("head")


def test_a_model_larger_than_its_weights_is_refused_before_memory_is_taken(folder):

    def grow(description: dict) -> None:
        logits = description["model"]["config"]["layers"][-1]
        logits["config"]["units"] = 10**12

    change_description(folder, grow)
    with pytest.raises(
        PipelineError, match="a model of [0-9,]{15,} numbers, and [0-9,]+ bytes of weights"
    ):
        load_classifier("head")


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
        load_classifier("head")


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
            load_classifier("head")
