"""A training that was stopped goes on where it was, and nobody can see from the result
that it was."""

import os
import shutil
import time
from functools import cache

import keras
import numpy as np
import pytest

from tests.helpers.tiny_sources import write_params
from tests.training.test_loop import examples, params
from transfer.classifiers.converted import FOLDER, classifier_key, read_kept
from transfer.classifiers.description import read_description
from transfer.classifiers.head import build_head
from transfer.dataset.examples import Examples
from transfer.runtime.checkpoints import Checkpoint, State, resumable
from transfer.training.loop import Fitted, compile_classifier, fit
from transfer.training.train_and_save import train_and_save

EPOCHS = 6
OPTIONS = {  # every option at once, but that one optimizer and one schedule shut out the others
    "class_weight": "balanced",
    "optimizer": "adamw",
    "weight_decay": 0.1,
    "l2": 0.01,
    "label_smoothing": 0.1,
    "mixup": 0.4,
    "schedule": "plateau",
    "warmup_epochs": 1,
    "plateau_patience": 1,
    "ema_momentum": 0.9,
}


class StoppedError(Exception):
    """The machine went down."""


@pytest.fixture(autouse=True)
def _after_each_epoch(monkeypatch):
    """However short the epochs are."""
    monkeypatch.setattr("transfer.runtime.checkpoints._SHARE", 0)


def train(
    state: Checkpoint | None,
    stops_before: int | None = None,
    overfits: bool = False,
    by_layer: bool = False,
    **changes,
) -> tuple[list[np.ndarray], Fitted]:
    """Train on views that change by epoch, with dropout; the model's variables afterwards, random
    states included."""
    keras.utils.set_random_seed(1)
    data = examples(24)
    validation = (
        Examples(data.inputs, 1 - data.labels) if overfits else examples(12, seed=1, signal=0.1)
    )
    head = build_head((1, 1, 6), units=8, dropout=0.5, normalize=False, n_classes=2)
    chosen = params(epochs=EPOCHS, **changes)
    compile_classifier(head, chosen, by_layer)

    def view(epoch: int) -> np.ndarray:
        if epoch == stops_before:
            raise StoppedError
        return data.inputs + np.float32(0.1 * epoch)

    def rates(epoch: int) -> np.ndarray:
        return np.float32([0.5 * (epoch >= 2), 0.5 * (epoch >= 2), 1, 1])

    fitted = fit(
        head, view, data.labels, validation, chosen, state, rates=rates if by_layer else None
    )
    return [
        keras.ops.convert_to_numpy(variable)
        for variable in head.variables + head.optimizer.variables
    ], fitted


@cache
def uninterrupted(**changes) -> tuple[list[np.ndarray], Fitted]:
    """Such a training that keeps no checkpoint; several tests compare theirs with it."""
    return train(None, **changes)


def assert_same(
    one: tuple[list[np.ndarray], Fitted], other: tuple[list[np.ndarray], Fitted]
) -> None:
    for a, b in zip(one[0], other[0], strict=True):
        assert a.tobytes() == b.tobytes()
    assert one[1].history.to_csv() == other[1].history.to_csv()
    assert one[1].epoch == other[1].epoch


@pytest.mark.parametrize("checkpoint", ["best", "last"])
@pytest.mark.parametrize("stops_before", [1, pytest.param(3, marks=pytest.mark.slow), EPOCHS - 1])
def test_a_resumed_training_ends_bit_for_bit_like_an_uninterrupted_one(
    tmp_path, capsys, checkpoint, stops_before
):
    whole = uninterrupted(checkpoint=checkpoint)
    with pytest.raises(StoppedError):
        train(Checkpoint(tmp_path), stops_before, checkpoint=checkpoint)
    assert_same(train(Checkpoint(tmp_path), checkpoint=checkpoint), whole)
    assert (
        f"head: resuming after epoch {stops_before} of an interrupted run"
        in capsys.readouterr().out
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"overfits": True, "by_layer": True, "checkpoint": "last", **OPTIONS},
        {
            "by_layer": True,
            "checkpoint": "best",
            **OPTIONS,
            "schedule": "cosine",
            "optimizer": "sgd",
            "weight_decay": 0,
        },
    ],
    ids=["plateau", "cosine"],
)
def test_every_option_resumes_with_the_same_bytes(tmp_path, changes):
    whole = uninterrupted(**changes)
    with pytest.raises(StoppedError):
        train(Checkpoint(tmp_path), 4, **changes)
    assert_same(train(Checkpoint(tmp_path), **changes), whole)


def test_a_training_may_be_stopped_again_and_again(tmp_path):
    for epoch in range(1, EPOCHS):
        with pytest.raises(StoppedError):
            train(Checkpoint(tmp_path), epoch)
    assert_same(train(Checkpoint(tmp_path)), uninterrupted())


@pytest.mark.parametrize("stops_before", [2, 3])
def test_patience_counts_the_epochs_before_the_stop(tmp_path, stops_before):
    """The best epoch is the first, so that with a patience of 3 training ends after the fourth."""
    worse = {"patience": 3, "overfits": True, "checkpoint": "best"}
    whole = uninterrupted(**worse)
    assert 3 < len(whole[1].history) < EPOCHS
    with pytest.raises(StoppedError):
        train(Checkpoint(tmp_path), stops_before, **worse)
    assert_same(train(Checkpoint(tmp_path), **worse), whole)


def test_a_training_that_was_stopped_after_its_last_epoch_only_ends(tmp_path):
    whole = train(Checkpoint(tmp_path))
    assert_same(train(Checkpoint(tmp_path), stops_before=0), whole)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory) -> bytes:
    """The checkpoint of a training that was stopped before its third epoch."""
    folder = tmp_path_factory.mktemp("stopped")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(StoppedError):
        patch.setattr("transfer.runtime.checkpoints._SHARE", 0)
        train(Checkpoint(folder), 3)
    return (folder / "state.npz").read_bytes()


def test_a_damaged_checkpoint_costs_time_and_nothing_else(tmp_path, capsys, stopped):
    content = bytearray(stopped)
    content[len(content) // 2] ^= 1
    (tmp_path / "state.npz").write_bytes(content)
    assert_same(train(Checkpoint(tmp_path)), uninterrupted())
    assert "training starts again" in capsys.readouterr().out


@pytest.mark.parametrize("damage", ["cut", "empty", "not a zip", "folder"])
def test_what_is_no_whole_checkpoint_counts_as_none(tmp_path, capsys, stopped, damage):
    file = tmp_path / "state.npz"
    if damage == "folder":
        file.mkdir()
    else:
        file.write_bytes({"cut": stopped[:-30], "empty": b"", "not a zip": b"not a zip"}[damage])
    assert Checkpoint(tmp_path).load() is None
    assert f"{file} cannot be read" in capsys.readouterr().out


def test_every_flipped_byte_is_noticed_or_harmless(tmp_path):
    """The archive's own checksums see to it, so a state that is loaded is the state
    that was saved."""
    saved = State(
        {"rows": [], "best_loss": 0.1, "best_epoch": 0}, {"model": [np.arange(3.0)], "best": []}
    )
    Checkpoint(tmp_path).save(saved)
    file = tmp_path / "state.npz"
    whole = file.read_bytes()
    for position in range(len(whole)):
        file.write_bytes(whole[:position] + bytes([whole[position] ^ 0xFF]) + whole[position + 1 :])
        found = Checkpoint(tmp_path).load()
        assert found is None or (
            found.numbers == saved.numbers
            and np.array_equal(found.arrays["model"][0], saved.arrays["model"][0])
        )


def test_a_checkpoint_that_cannot_be_written_does_not_stop_the_training(tmp_path, capsys):
    (tmp_path / "file").write_bytes(b"")
    assert_same(train(Checkpoint(tmp_path / "file" / "below")), uninterrupted())
    assert capsys.readouterr().out.count("no checkpoint can be written (Not a directory)") == 1


def test_checkpoints_take_a_small_share_of_the_time(tmp_path, monkeypatch):
    monkeypatch.setattr("transfer.runtime.checkpoints._SHARE", 20)
    checkpoint = Checkpoint(tmp_path)
    assert checkpoint.is_due()
    checkpoint.save(State({}, {"model": [np.zeros(1000)]}))
    assert not checkpoint.is_due()


@pytest.fixture
def stage(project, monkeypatch):
    """A folder in which a stage's inputs can be named."""
    monkeypatch.delenv("DVC_ROOT", raising=False)
    (project / "dvc.yaml").write_text("stages: {train: {deps: [data.npy], params: [train_head]}}")
    (project / "data.npy").write_bytes(b"data")
    write_params(project)
    return project


def test_a_stage_that_ends_well_leaves_no_checkpoint(stage):
    with resumable("train") as checkpoint:
        checkpoint.save(State({}, {}))
        assert list((stage / ".checkpoints/train").iterdir()) == [checkpoint.folder.resolve()]
    assert list((stage / ".checkpoints/train").iterdir()) == []


def test_a_stage_that_fails_leaves_its_checkpoint_to_the_next_one_with_the_same_inputs(stage):
    with pytest.raises(StoppedError), resumable("train") as checkpoint:
        checkpoint.save(State({"best_epoch": 7}, {}))
        raise StoppedError
    with resumable("train") as checkpoint:
        assert checkpoint.load().numbers == {"best_epoch": 7}


def test_checkpoints_that_were_not_used_for_long_are_deleted(stage):
    old, recent = (stage / ".checkpoints/train" / name for name in ("old", "recent"))
    for folder in (old, recent):
        folder.mkdir(parents=True)
    a_month_ago = time.time() - 30 * 86400
    os.utime(old, (a_month_ago, a_month_ago))
    with resumable("train"):
        pass
    assert recent.exists()
    assert not old.exists()


def test_an_experiment_in_another_folder_keeps_its_checkpoints_in_the_main_workspace(
    stage, tmp_path, monkeypatch
):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "main"))
    with resumable("train") as checkpoint:
        assert checkpoint.folder.parent == tmp_path / "main/.checkpoints/train"


def test_a_stage_that_was_stopped_ends_with_the_files_of_one_that_was_not(stage):
    """Through `train_and_save`, with which all training stages end."""
    data = examples(24)

    def run(stops_before: int | None = None) -> None:
        keras.utils.set_random_seed(1)
        head = build_head((1, 1, 6), units=8, dropout=0.5, normalize=False, n_classes=2)
        chosen = params(epochs=EPOCHS)
        compile_classifier(head, chosen)

        def inputs_of(epoch: int) -> np.ndarray:
            if epoch == stops_before:
                raise StoppedError
            return data.inputs

        train_and_save(
            "train", "head", head, "features", ["a", "b"], inputs_of, data.labels, data, chosen
        )

    def files() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (stage / "models/head").iterdir()}

    run()
    whole = files()
    shutil.rmtree(stage / "models")
    with pytest.raises(StoppedError):
        run(stops_before=4)
    assert not (stage / "models/head/model.weights.h5").exists()
    run()
    assert files() == whole and len(whole) == 3
    kept = read_kept(FOLDER / "head.litert", classifier_key(read_description("head")))
    assert kept, "where the model was trained it is converted too"
    assert not list((stage / ".checkpoints/train").iterdir())
