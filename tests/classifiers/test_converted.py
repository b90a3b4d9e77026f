"""Classifiers converted to LiteRT: what is kept, when it is made again, and what is said if it
cannot be made."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from tests.helpers.tiny_sources import REPOSITORY
from transfer.backbones.conversion import ConversionError
from transfer.classifiers import conversion, converted
from transfer.classifiers.conversion import convert_classifier
from transfer.classifiers.converted import (
    CANNOT_CONVERT,
    FOLDER,
    REFUSED,
    CannotConvertError,
    classifier_key,
    load_converted,
)
from transfer.classifiers.description import read_description
from transfer.classifiers.head import build_head, build_linear
from transfer.classifiers.litert_classifier import LiteRTClassifier
from transfer.classifiers.names import description_file, weights_file
from transfer.classifiers.probe import Probe, save_probe
from transfer.classifiers.saved import Classifier, load_classifier, predict_logits, save_classifier
from transfer.classifiers.scratch import build_small_network
from transfer.runtime.errors import PipelineError

KEPT = FOLDER / "head.litert"
LINEAR = np.linspace(-1, 1, 24, dtype=np.float32).reshape(8, 3), np.arange(3, dtype=np.float32)
FEATURES = np.random.default_rng(0).random((7, 1, 1, 8), dtype=np.float32)


def save_head(units: int = 3, name: str = "head") -> None:
    head = build_head((1, 1, 8), units, dropout=0.5, normalize=True, n_classes=3)
    history = pd.DataFrame({"loss": [1.0]})
    save_classifier(name, Classifier(head, "features", ["a", "b", "c"], epoch=1), history)


@pytest.fixture
def conversions(project: Path, monkeypatch) -> list[str]:
    """A project with a head; conversions run in this process, and their names are noted."""
    save_head()
    names = []

    def convert(name: str) -> bytes:
        names.append(name)
        classifier = load_classifier(name)
        return convert_classifier(classifier.model, classifier.input_kind)

    monkeypatch.setattr(converted, "_convert", convert)
    return names


def test_a_converted_classifier_computes_what_keras_computes():
    for model, kind, inputs in (
        (build_head((1, 1, 8), 3, 0.5, normalize=True, n_classes=2), "features", FEATURES),
        (build_head((2, 2, 8), 3, 0, normalize=False, n_classes=4), "cut", FEATURES.repeat(4, 0)),
        (build_small_network(32, 4, 0.5, n_classes=2), "images", None),
        (build_linear((3, 1, 8), *LINEAR), "features", FEATURES.repeat(3, 0)),
    ):
        if inputs is None:
            inputs = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
        inputs = inputs.reshape(-1, *model.input_shape[1:])
        content = convert_classifier(model, kind)
        found = LiteRTClassifier(content, kind, ["a", "b"])
        assert found.input_shape == model.input_shape[1:]
        assert found.logits(inputs) == pytest.approx(predict_logits(model, inputs), abs=1e-5)
        assert (found.logits(inputs[2:3]) == found.logits(inputs)[2:3]).all()


def test_a_classifier_is_converted_once(conversions, capsys):
    first, second = load_converted("head"), load_converted("head")
    assert conversions == ["head"]
    assert (first.class_names, first.input_kind) == (["a", "b", "c"], "features")
    assert (first.logits(FEATURES) == second.logits(FEATURES)).all()
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("converting models/head to LiteRT") == 1


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "text"])
def test_a_damaged_file_is_noticed_and_made_again(conversions, capsys, damage):
    expected = load_converted("head").logits(FEATURES)
    whole = KEPT.read_bytes()
    flipped = whole[:-100] + bytes([whole[-100] ^ 1]) + whole[-99:]
    KEPT.write_bytes({"flip": flipped, "cut": whole[:-9], "empty": b"", "text": b"x" * 70}[damage])
    assert (load_converted("head").logits(FEATURES) == expected).all()
    assert conversions == ["head"] * 2
    assert KEPT.read_bytes() == whole
    assert ("is damaged" in capsys.readouterr().err) == (damage in ("flip", "cut"))


def test_a_file_of_another_model_is_noticed_and_made_again(conversions):
    before = load_converted("head").logits(FEATURES)
    save_head(name="augmented")
    load_converted("augmented")
    KEPT.write_bytes((FOLDER / "augmented.litert").read_bytes())
    assert (load_converted("head").logits(FEATURES) == before).all()
    assert conversions == ["head", "augmented", "head"]


def test_a_model_that_was_trained_again_is_converted_again(conversions):
    before = load_converted("head").logits(FEATURES)
    save_head(units=4)
    after = load_converted("head").logits(FEATURES)
    assert conversions == ["head"] * 2
    expected = predict_logits(load_classifier("head").model, FEATURES)
    assert after == pytest.approx(expected, abs=1e-6)
    assert (after != before).any()


def test_the_key_is_of_weights_architecture_and_converter(conversions, monkeypatch):
    keys = [classifier_key(read_description("head"))]
    for change in (
        lambda: weights_file("head").write_bytes(weights_file("head").read_bytes() + b"x"),
        lambda: description_file("head").write_text(
            description_file("head").read_text().replace('"relu"', '"tanh"')
        ),
        lambda: monkeypatch.setattr(converted, "installed", lambda names: dict.fromkeys(names, 9)),
    ):
        change()
        keys.append(classifier_key(read_description("head")))
    assert len(set(keys)) == 4


def test_a_disk_that_keeps_nothing_costs_time_only(conversions, project, capsys):
    (project / ".cache").write_text("a file where the folder should be")
    for _ in range(2):
        assert load_converted("head").logits(FEATURES).shape == (7, 3)
    assert conversions == ["head"] * 2
    assert capsys.readouterr().err.count("cannot be written") == 2


def test_without_tensorflow_nothing_is_converted(conversions, monkeypatch):
    monkeypatch.setattr(converted, "find_spec", lambda name: None)
    with pytest.raises(CannotConvertError, match="TensorFlow is not installed"):
        load_converted("head")


def test_another_process_converts(project):
    save_head()
    found = load_converted("head").logits(FEATURES)
    expected = predict_logits(load_classifier("head").model, FEATURES)
    assert found == pytest.approx(expected, abs=1e-6)


def test_weights_that_do_not_belong_to_the_description_are_an_error(project):
    save_head()
    weights_file("head").write_bytes(b"no HDF5")
    with pytest.raises(PipelineError, match="head/model.json and .* do not belong together"):
        load_converted("head")


@pytest.mark.parametrize(
    ("error", "code"), [(ConversionError("no such op"), CANNOT_CONVERT), (None, 0)]
)
def test_the_program_that_converts_tells_by_its_exit_code(
    project, monkeypatch, capsys, error, code
):
    save_head()

    def convert(model, input_kind):
        if error:
            raise error
        return b"content"

    monkeypatch.setattr(conversion, "convert_classifier", convert)
    assert conversion.main("head", Path("made")) == code
    assert Path("made").exists() == (code == 0)
    assert capsys.readouterr().err == (f"{error}\n" if error else "")
    assert conversion.main("nowhere", Path("made")) == REFUSED


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (CANNOT_CONVERT, "models/head cannot be converted: no such op"),
        (-9, "the conversion of models/head ended with exit code -9: no such op"),
    ],
)
def test_a_conversion_that_fails_says_why(monkeypatch, code, message):
    finished = SimpleNamespace(returncode=code, stderr="warning\nno such op\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: finished)
    with pytest.raises(CannotConvertError, match=message):
        converted._convert("head")


def test_two_processes_that_come_first_together_convert_once(conversions, project):
    content = convert_classifier(load_classifier("head").model, "features")
    (project / "content").write_bytes(content)
    code = (
        "import sys, time; from pathlib import Path; from transfer.classifiers import converted\n"
        "def convert(name):\n"
        "    with open('conversions', 'a') as file: file.write(name + '\\n')\n"
        "    time.sleep(2); return Path('content').read_bytes()\n"
        "converted._convert = convert\n"
        "print(converted.load_converted('head').input_shape, 'tensorflow' in sys.modules)"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            env={"PYTHONPATH": str(REPOSITORY)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    assert [process.communicate(timeout=60)[0] for process in processes] == [
        "(1, 1, 8) False\n"
    ] * 3
    assert Path("conversions").read_text() == "head\n"
    assert [path.name for path in FOLDER.iterdir() if path.suffix != ".lock"] == ["head.litert"]


def test_the_probe_is_converted_like_a_head_and_the_neighbours_say_that_they_are_no_network(
    conversions,
):
    probe = Probe(*LINEAR)
    choices = pd.DataFrame({"strength": [1.0], "val_loss": [0.5], "val_accuracy": [1.0]})
    save_probe(probe, (1, 1, 8), ["a", "b", "c"], 1.0, choices)
    found = load_converted("probe")
    assert found.logits(FEATURES) == pytest.approx(probe.logits(FEATURES[:, 0, 0]), abs=1e-5)
    assert load_classifier("probe").epoch is None
    with pytest.raises(PipelineError, match="neighbours is a list of training images and no netw"):
        load_classifier("neighbours")
