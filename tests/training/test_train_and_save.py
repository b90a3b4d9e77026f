"""The end of a training: the model is saved, and kept as a LiteRT file if that is possible."""

from pathlib import Path

import keras
import pytest

from tests.helpers.tiny_sources import write_params
from tests.training.test_loop import examples, params
from transfer.backbones import conversion
from transfer.classifiers.head import build_head
from transfer.training.loop import compile_classifier
from transfer.training.train_and_save import train_and_save


def train_head() -> None:
    data, chosen = examples(8), params(epochs=1)
    head = build_head((1, 1, 6), units=4, dropout=0, normalize=False, n_classes=2)
    compile_classifier(head, chosen)
    train_and_save(
        "train",
        "head",
        head,
        "features",
        ["a", "b"],
        lambda epoch: data.inputs,
        data.labels,
        data,
        chosen,
    )


def fail_with(error: BaseException):
    def convert(*_, **__):
        raise error

    return convert


@pytest.mark.skipif(keras.config.backend() != "tensorflow", reason="only there it is converted")
def test_a_disk_without_room_for_the_conversion_costs_no_training(project, monkeypatch, capsys):
    full = OSError(28, "No space left on device")
    monkeypatch.setattr(conversion.tf.saved_model, "save", fail_with(full))
    train_head()
    assert len(list(Path("models/head").iterdir())) == 3
    assert not Path(".cache").exists()
    assert (
        "models/head is not converted to LiteRT now: No space left on device"
        in capsys.readouterr().out
    )


@pytest.mark.skipif(keras.config.backend() != "tensorflow", reason="only there it is converted")
def test_a_process_that_ends_while_it_converts_leaves_its_checkpoint(project, monkeypatch):
    Path("dvc.yaml").write_text("stages: {train: {deps: [], params: [train_head]}}")
    write_params(project)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setattr(conversion.tf.saved_model, "save", fail_with(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        train_head()
    assert list(Path(".checkpoints/train").glob("*/state.npz"))
