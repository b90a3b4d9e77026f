"""Exported files: what they see of an image, what they answer, what they hold,
and when they are refused."""

import contextlib
import json
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from dataclasses import asdict
from pathlib import Path

import keras
import numpy as np
import onnx
import pandas as pd
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

from tests.commands.test_verify import flip
from tests.helpers.tiny_pipeline import call, copy_world, repro, set_param
from transfer.backbones.registry import BackboneParams
from transfer.classifiers.description import save_skipped
from transfer.classifiers.probabilities import probabilities
from transfer.classifiers.probe import Probe, save_probe
from transfer.classifiers.saved import Classifier, save_classifier
from transfer.commands.committed import read_committed
from transfer.decoding.rgb import resize
from transfer.export import export
from transfer.export.checks import Answers, Checked, check
from transfer.export.end_to_end_model import build_end_to_end
from transfer.export.formats import FORMATS
from transfer.export.model_selection import best_on_validation
from transfer.export.runtimes import open_runtime
from transfer.export.writers import ABOUT, LABELS, About, write
from transfer.runtime.dvc_files import locked_stages
from transfer.runtime.errors import PipelineError

BACKBONE = BackboneParams(
    name="VGG16", image_size=32, preprocessing="imagenet", unfreeze_from="second"
)
ABOUT_IT = About(["cat", "Hund & Käse"], "0123456789ab", 32, "bilinear", "CC-BY-4.0, by …")


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def backbone() -> keras.Model:
    pixels = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(4, 3, strides=2, activation="relu", name="first")(pixels)
    return keras.Model(
        pixels, keras.layers.Conv2D(6, 3, strides=2, activation="relu", name="second")(x)
    )


def head(input_kind: str, n_logits: int, network: keras.Model) -> keras.Model:
    shape = {
        "images": network.input,
        "features": network.output,
        "cut": network.get_layer("second").input,
    }[input_kind].shape[1:]
    activations = keras.Input(shape)
    x = keras.layers.Rescaling(0.02)(keras.layers.Flatten()(activations))
    return keras.Model(activations, keras.layers.Dense(n_logits)(x))


@pytest.mark.parametrize(("input_kind", "n_logits"), [("images", 1), ("features", 1), ("cut", 3)])
def test_the_whole_is_its_parts_one_after_the_other(input_kind, n_logits):
    keras.utils.set_random_seed(0)
    network = backbone()
    model = head(input_kind, n_logits, network)
    pixels = picture(48, 40)
    mean = np.array([103.939, 116.779, 123.68], np.float32)
    small = resize(Image.fromarray(pixels), 32, "bicubic")[None].astype(np.float32)
    seen = small[..., ::-1] - mean
    activations = {
        "images": small,
        "features": network(seen),
        "cut": network.get_layer("first")(seen),
    }[input_kind]
    expected = probabilities(np.asarray(model(activations)) / 1.7)
    classifier = Classifier(model, input_kind, ["a", "b", "c"][: max(2, n_logits)], 1)
    whole = build_end_to_end(classifier, network, BACKBONE, "bicubic", 1.7)
    np.testing.assert_allclose(whole.predict_on_batch(pixels[None]), expected, atol=1e-5)


@pytest.fixture(scope="module")
def whole() -> keras.Model:
    return build_end_to_end(*whole_parts())


def whole_parts() -> tuple:
    """The arguments of `build_end_to_end`: the same weights each time."""
    keras.utils.set_random_seed(1)
    network = backbone()
    classifier = Classifier(head("cut", 1, network), "cut", ["a", "b"], 1)
    return classifier, network, BACKBONE, "bilinear", 0.5


def test_the_signature_that_serving_programs_ask_for_answers_on_the_command_line(
    whole, written, tmp_path
):
    """`saved_model_cli` is TensorFlow's own client."""
    words = ["--dir", str(written / "saved_model"), "--tag_set", "serve"]
    words += ["--signature_def", "serving_default"]
    pixels = np.stack([picture(40, 30, seed) for seed in range(2)])
    np.save(tmp_path / "images.npy", pixels)
    words += ["--inputs", f"images={tmp_path / 'images.npy'}", "--outdir", str(tmp_path)]
    tool = Path(sys.executable).with_name("saved_model_cli")
    finished = subprocess.run([tool, "run", *words], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr[-2000:]
    found = np.load(tmp_path / "probabilities.npy")
    np.testing.assert_allclose(found, whole.predict_on_batch(pixels), atol=1e-6)


def test_a_fixed_file_says_its_size_and_takes_one_image(written):
    interpreter = Interpreter(str(written / FORMATS["litert_fixed"].file))
    interpreter.allocate_tensors()
    (images,) = interpreter.get_input_details()
    assert images["shape"].tolist() == images["shape_signature"].tolist() == [1, 32, 32, 3]


@pytest.fixture(scope="module")
def written(whole, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    fixed = build_end_to_end(*whole_parts(), resizes=False)
    for kind, format_ in FORMATS.items():
        model = whole if format_.takes_any_size else fixed
        write(kind, folder / format_.file, model, ABOUT_IT)
    return folder


@pytest.mark.parametrize("kind", FORMATS)
def test_each_runtime_answers_as_keras_does_for_images_of_any_size(kind, whole, written):
    run = open_runtime(written / FORMATS[kind].file)
    tolerance = {"litert_float16": 5e-3, "litert_int8": 0.05}.get(kind, 1e-4)
    for height, width in [(32, 32), (90, 40), (33, 120), (1, 5)]:
        pixels = picture(height, width, seed=height)
        np.testing.assert_allclose(
            run(pixels), whole.predict_on_batch(pixels[None])[0], atol=tolerance
        )


def test_a_grouped_convolution_and_gelu_are_in_onnx_too(tmp_path):
    """As in ConvNeXt: Keras has the one compiled as a function of its own, and TensorFlow has the
    other of erfc, which ONNX has not."""
    images = keras.Input((None, None, 3), dtype="uint8")
    maps = keras.layers.Conv2D(4, 3, groups=2, activation="gelu")(
        keras.layers.Conv2D(4, 3)(keras.layers.Rescaling(1 / 255)(images))
    )
    model = keras.Model(images, keras.layers.Softmax()(keras.layers.GlobalAveragePooling2D()(maps)))
    write("onnx", tmp_path / "model.onnx", model, ABOUT_IT)
    pixels = picture(20, 30)
    np.testing.assert_allclose(
        open_runtime(tmp_path / "model.onnx")(pixels),
        model.predict_on_batch(pixels[None])[0],
        atol=1e-6,
    )


def test_class_names_and_version_are_inside_each(written):
    expected = asdict(ABOUT_IT)
    assert json.loads(tf.saved_model.load(written / "saved_model").about().numpy()) == expected
    metadata = {
        entry.key: entry.value for entry in onnx.load(written / "classifier.onnx").metadata_props
    }
    assert (
        json.loads(metadata["class_names"]) == expected["class_names"]
        and metadata["version"] == expected["version"]
        and metadata["weights_license"] == expected["weights_license"]
    )
    for kind in ("litert", "litert_fixed", "litert_float16", "litert_int8"):
        with zipfile.ZipFile(written / FORMATS[kind].file) as archive:
            assert archive.read(LABELS).decode() == "cat\nHund & Käse\n"
            assert json.loads(archive.read(ABOUT)) == expected


def test_a_check_counts_what_the_runtime_says(whole, written):
    images = np.stack([picture(32, 32, seed) for seed in range(5)])
    expected = whole.predict_on_batch(images)
    labels = expected.argmax(axis=1)
    right = check("onnx", written / "classifier.onnx", Answers(images, expected, labels))
    assert (right.accuracy, right.equal_labels) == (1, 1) and right.difference < 1e-6
    wrong = check(
        "onnx", written / "classifier.onnx", Answers(images, expected[:, ::-1], 1 - labels)
    )
    assert (wrong.accuracy, wrong.equal_labels) == (0, 0) and wrong.difference > 1e-6


ANSWERS = Answers(np.zeros((10, 1, 1, 3), np.uint8), np.eye(2)[[0] * 10], np.zeros(10, int))


@pytest.mark.parametrize(
    ("checked", "words"),
    [
        (Checked("onnx", "f", 1, 1, 1, 0.9, 0), "onnx: 90.0% of the labels are equal"),
        (
            Checked("litert", "f", 1, 1, 1, 1, 2e-4),
            "litert: 100.0% of the labels are equal, probabilities differ by up to 0.0002",
        ),
        (
            Checked("litert_int8", "f", 1, 1, 0.9, 0.9, 0.4),
            "litert_int8: accuracy 0.900 instead of 1.000; allow it with export.max_accuracy_drop",
        ),
    ],
)
def test_a_file_that_answers_otherwise_is_refused(checked, words):
    with pytest.raises(PipelineError) as error:
        export.refuse([checked], ANSWERS, max_accuracy_drop=0.05)
    assert words in str(error.value)


def test_what_keeps_to_its_bounds_is_not():
    export.refuse(
        [Checked("onnx", "f", 1, 1, 1, 1, 1e-4), Checked("litert_int8", "f", 1, 1, 0.9, 0.9, 0.4)],
        ANSWERS,
        max_accuracy_drop=0.1,
    )


def test_an_export_is_replaced_as_a_whole(tmp_path):
    new, output = tmp_path / "t/new", tmp_path / "output"
    for folder, name in ((new, "export.json"), (output, "old.onnx")):
        folder.mkdir(parents=True)
        (folder / name).touch()
    export.replace(output, new)
    assert [file.name for file in output.iterdir()] == ["export.json"]


def test_the_best_model_is_that_of_the_lowest_validation_loss_at_the_epoch_that_was_kept(project):
    features = keras.Input((2, 2, 3))
    network = keras.Model(features, keras.layers.Dense(1)(keras.layers.Flatten()(features)))
    for name, losses, epoch in (
        ("head", [0.5, 0.3], 2),
        ("augmented", [0.1, 0.4], 2),
        ("finetuned", [0.3, 0.2], 1),
    ):
        history = pd.DataFrame({"epoch": [1, 2], "val_loss": losses})
        save_classifier(name, Classifier(network, "features", ["a", "b"], epoch), history)
    save_skipped("scratch", "it would be the best")
    probe = Probe(np.zeros((3, 1), np.float32), np.zeros(1, np.float32))
    tried = pd.DataFrame({"strength": [1.0], "val_loss": [0.01], "val_accuracy": [1.0]})
    save_probe(probe, (2, 2, 3), ["a", "b"], 1.0, tried)  # a baseline, and so never the best
    assert best_on_validation() == "head"  # as good as the fine-tuned one, and simpler


AS_IT_IS = (
    "import os, runpy; runpy.run_module('stages.export', run_name='__main__', alter_sys=True)"
)
ON_ONE_CORE = AS_IT_IS.replace(
    ";",
    "; hasattr(os, 'sched_setaffinity') and os.sched_setaffinity(0, "
    "{min(os.sched_getaffinity(0))});",
)


@pytest.mark.slow
def test_the_stage_exports_the_best_model_in_the_same_bytes_on_any_number_of_cores(own_models):
    set_param(own_models, "export.formats", [*FORMATS])
    written = []
    for code in (AS_IT_IS, ON_ONE_CORE):
        finished = call("python", "-c", code, cwd=own_models)
        written.append(
            {
                path.relative_to(own_models): path.read_bytes()
                for path in (own_models / "deploy/export").rglob("*")
                if path.is_file()
            }
        )
    assert written[0] == written[1]
    losses = dict(
        re.findall(
            r"(\w+) (\d+\.\d+)", finished.stdout.split("validation loss: ")[1].splitlines()[0]
        )
    )
    made = json.loads((own_models / "deploy/export/export.json").read_text())
    assert made["class_names"] == ["a", "b"] and made["files"][0]["equal_labels"] == 1
    assert made["model"] == min(losses, key=lambda name: float(losses[name]))
    assert open_runtime(own_models / "deploy/export/saved_model")(
        picture(40, 32)
    ).sum() == pytest.approx(1)


@pytest.fixture(scope="module")
def exported(base, tmp_path_factory) -> Path:
    """The reproduced world, with an export of nothing by real DVC, committed."""
    project = copy_world(base, tmp_path_factory.mktemp("exported") / "project")
    assert repro(project, "deploy/dvc.yaml").stages == ["deploy/dvc.yaml:export"]
    assert repro(project).stages == []
    call("git", "add", "--all", cwd=project)
    call("git", "commit", "--quiet", "--message", "exported", cwd=project)
    return project


def test_no_format_is_an_export_of_nothing(exported):
    assert json.loads((exported / "deploy/export/export.json").read_text()) == {
        "model": None,
        "files": [],
    }


def test_an_experiment_of_a_model_does_not_export_it(exported, tmp_path):
    project = copy_world(exported, tmp_path / "project")
    set_param(project, "export.max_accuracy_drop", 0.5)
    assert "export" not in str(repro(project).stages)
    stale = json.loads(call("dvc", "status", "deploy/dvc.yaml", "--json", cwd=project).stdout)
    assert list(stale) == ["deploy/dvc.yaml:export"]


def test_what_was_exported_is_verified_and_compared_with_the_commit_too(exported, tmp_path):
    project = copy_world(exported, tmp_path / "project")
    flip(project / "deploy/export/export.json")
    said = call("python", "-m", "transfer", "verify", cwd=project, check=False)
    assert said.returncode == 1
    assert said.stdout.startswith("deploy/export")
    assert "damaged in the workspace\n" in said.stdout
    for line in re.findall(r"^    (\w.*)", said.stdout, re.MULTILINE):
        call(*shlex.split(line), cwd=project)
    assert "no problems" in call("python", "-m", "transfer", "verify", cwd=project).stdout
    with contextlib.chdir(project):
        assert "export" in read_committed() and "export" in locked_stages()


def test_where_nothing_was_exported_there_is_nothing_to_check_out(exported, tmp_path):
    """As in a clone: the lock is committed, the files are not there."""
    project = copy_world(exported, tmp_path / "project")
    shutil.rmtree(project / "deploy/export")
    call("dvc", "checkout", cwd=project)
    assert "no problems" in call("python", "-m", "transfer", "verify", cwd=project).stdout


def test_a_released_version_is_fetched_by_its_name(exported, tmp_path):
    """`make release` copies and adds; the lines of its recipe run here."""
    call("git", "clone", "--quiet", str(exported), "clone", cwd=tmp_path)
    call("dvc", "cache", "dir", "--local", str(exported / ".dvc/cache"), cwd=tmp_path / "clone")
    shutil.copytree(exported / "deploy/export", tmp_path / "clone/deploy/export")
    recipe = (Path(__file__).parents[2] / "Makefile").read_text().split("\nrelease:")[1]
    for line in re.findall(r"^\t(.*)", recipe.split("\n\n")[0], re.MULTILINE):
        call(*shlex.split(line), cwd=tmp_path / "clone")
    call("git", "add", "--all", cwd=tmp_path / "clone")
    call("git", "commit", "--quiet", "--message", "released", cwd=tmp_path / "clone")
    call(
        "git",
        "tag",
        "--annotate",
        "deploy=classifier@v1.0.0",
        "--message",
        "first",
        cwd=tmp_path / "clone",
    )
    call(
        "dvc",
        "artifacts",
        "get",
        str(tmp_path / "clone"),
        "deploy:classifier",
        "--out",
        "got",
        cwd=tmp_path,
    )
    assert (tmp_path / "got/export.json").read_bytes() == (
        exported / "deploy/export/export.json"
    ).read_bytes()


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("formats", ["gguf"], "params.yaml: export.formats.0 = 'gguf'"),
        ("formats", ["onnx", "onnx"], "one of them is listed twice; name each once"),
        ("model", "worst", "params.yaml: export.model = 'worst'"),
        ("model", "neighbours", "it is a list of training images and no network"),
        ("max_accuracy_drop", 1, "params.yaml: export.max_accuracy_drop = 1"),
    ],
)
def test_an_error_is_one_line(key, value, said, own_models):
    set_param(own_models, f"export.{key}", value)
    finished = call("python", "-m", "stages.export", cwd=own_models, check=False)
    assert (
        finished.returncode == 1 and said in finished.stderr and "Traceback" not in finished.stderr
    )
    assert not (own_models / "deploy/export").exists()
