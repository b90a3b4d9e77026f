"""Which images to label next: the ranking, the table, the page."""

import base64
import hashlib
import io
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.helpers.tiffs import tiff
from tests.helpers.tiny_sources import build, class_folders, encode, picture
from transfer.__main__ import main
from transfer.commands import suggest
from transfer.decoding.rgb import read_rgb
from transfer.decoding.value_ranges import PixelRules
from transfer.inference.predictions import Prediction
from transfer.inference.predictor import Predictor
from transfer.inference.suggestion_page import Suggestion, thumbnail, write_page
from transfer.inference.suggestions import choose, doubts, nearest_distances

NONE = np.zeros((1, 2), np.float32)


def test_doubt_is_0_for_a_sure_prediction_and_1_for_equal_chances():
    found = doubts(np.array([[1, 0, 0, 0], [0.25, 0.25, 0.25, 0.25], [0.5, 0.5, 0, 0]]))
    assert found == pytest.approx([0, 1, 0.5], abs=1e-9)


def test_the_farthest_doubtful_image_comes_first_and_its_copies_last():
    vectors = np.array([[1, 0], [3, 0], [3, 0], [0, 2], [9, 9]], np.float32)
    rows, scores = choose(np.array([1, 1, 1, 1, 0.0]), vectors, NONE, 5)
    assert rows == [1, 3, 0, 2, 4]
    assert scores == pytest.approx([3, 2, 1, 0, 0], abs=1e-6)


def test_near_images_are_not_chosen_together():
    rng = np.random.default_rng(0)
    clusters = np.repeat(np.eye(4, dtype=np.float32), 25, axis=0)
    vectors = clusters + rng.normal(0, 0.01, clusters.shape).astype(np.float32)
    rows, _ = choose(rng.uniform(0.9, 1, 100), vectors, np.zeros((1, 4), np.float32), 4)
    assert {row // 25 for row in rows} == {0, 1, 2, 3}


def test_no_more_than_there_are_are_chosen():
    rows, _ = choose(np.ones(2), np.ones((2, 2), np.float32), NONE, 50)
    assert sorted(rows) == [0, 1]


def test_distances_are_those_to_the_nearest_whatever_is_compared_at_once(monkeypatch):
    rng = np.random.default_rng(0)
    vectors, others = rng.normal(size=(10, 3)), rng.normal(size=(7, 3))
    expected = np.linalg.norm(vectors[:, None] - others, axis=2).min(axis=1)
    monkeypatch.setattr("transfer.inference.suggestions._ROWS", 4)
    assert nearest_distances(vectors, others) == pytest.approx(expected)


def test_the_page_is_whole_in_itself_and_names_are_text_in_it(tmp_path):
    name = "<script>alert(1)</script> 日本 &é.png"
    suggestions = [Suggestion(name, "<b>cat</b>", 0.6, 0.97, 99.5, 0.5)]
    write_page(
        tmp_path / "page.html", suggestions, {name: thumbnail(picture(1, 600, 400))}, "1 <i>"
    )
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    for tag in ("<script", "<b>cat", "<i>"):
        assert tag not in page
    assert "日本 &amp;é.png" in page
    assert page.count("src=") == page.count('src="data:image/jpeg;base64,') == 1
    assert "http" not in page.replace("http-equiv", "")
    assert "default-src 'none'" in page


class StubPredictor:
    """Doubts images by their first pixel's red; its vector is the colour of that pixel."""

    class_names = ("cat", "dog")
    batch_size = 4
    novelty = SimpleNamespace(vectors=np.zeros((1, 3), np.float32))

    decode_file = Predictor.decode_file

    def open(self, content: bytes) -> Image.Image:
        return read_rgb(content, PixelRules({"float": (0, 1)}))

    def decode(self, content: bytes) -> np.ndarray:
        return np.asarray(self.open(content))[:1, :1]

    def activations(self, images: np.ndarray) -> dict[str, np.ndarray]:
        return {"cut": images.astype(np.float32) + 1}

    def predict_activations(self, activations: dict[str, np.ndarray]) -> list[Prediction]:
        reds = activations["cut"][:, 0, 0, 0] / 512
        return [Prediction(np.array([1 - red, red], np.float64), 0.1, 50.0) for red in reds]


@pytest.fixture
def photos(project, monkeypatch) -> Path:
    """20 photos without labels, of which the manifest has two, and a file that is no image."""
    monkeypatch.setattr(
        "transfer.inference.predictor.load_predictor",
        lambda name, *, with_novelty: StubPredictor(),
    )
    images = {f"{i}.png": encode(picture(i)) for i in range(20)}
    known = [hashlib.sha256(images[f"{i}.png"]).hexdigest() for i in (3, 4)]
    monkeypatch.setattr(
        "transfer.dataset.manifest.read_manifest", lambda: pd.DataFrame({"sha256": known})
    )
    return build(project / "photos", images | {"broken.png": b"x"})


def test_the_table_has_no_label_yet_and_no_image_that_has_one(photos, capsys):
    assert main(["suggest", "photos", "--count", "6"]) == 3
    table = pd.read_csv("suggestions.csv", keep_default_na=False)
    assert table.columns.tolist() == suggest.COLUMNS
    assert len(table) == 6
    assert set(table["label"]) == {""}
    assert not {"photos/3.png", "photos/4.png"} & {*table["path"]}
    assert (table["score"].diff().dropna() <= 1e-6).all()
    said = capsys.readouterr()
    assert "6 of 18 images without a label" in said.out
    assert "left out, because already in the manifest: 2 images" in said.out
    assert "cannot be read: photos/broken.png: " in said.err
    assert Path("suggestions.html").read_text().count("<img") == 6


def test_the_page_shows_images_as_the_model_sees_them(photos):
    deep = np.full((8, 12, 1), 0.9, np.float32)
    build(photos.parent / "deep", {"a.tif": tiff(deep, 32), "b.tif": tiff(deep / 2, 32)})
    assert main(["suggest", "deep", "--count", "2"]) == 0
    shown = re.findall(r"base64,([^\"]+)", Path("suggestions.html").read_text())
    pictures = [Image.open(io.BytesIO(base64.b64decode(each))) for each in shown]
    levels = sorted(picture.getpixel((5, 5))[0] for picture in pictures)
    assert np.abs(np.array(levels) - (0.45 * 255, 0.9 * 255)).max() < 3


def test_identical_images_are_offered_once_and_notes_beside_them_are_no_images(photos, capsys):
    same = encode(picture(99))
    build(photos.parent / "pool", {"1.png": same, "2.png": same, "3.png": encode(picture(98))})
    build(photos.parent / "pool", {"notes.txt": b"x", "labels.csv": b"path,label\n"})
    assert main(["suggest", "pool", "pool/1.png"]) == 0
    table = pd.read_csv("suggestions.csv")
    assert sorted(table["path"]) == ["pool/1.png", "pool/3.png"]
    said = capsys.readouterr()
    assert "2 of 2 images without a label" in said.out
    assert "left out, because another has the same bytes: 2 images" in said.out
    assert "cannot be read" not in said.err


def test_a_table_that_may_hold_labels_is_not_overwritten(photos, capsys):
    main(["suggest", "photos"])
    before = Path("suggestions.csv").read_bytes()
    capsys.readouterr()
    assert main(["suggest", "photos", "--count", "1"]) == 1
    assert "suggestions.csv exists, and may hold labels" in capsys.readouterr().err
    assert Path("suggestions.csv").read_bytes() == before


def test_a_page_of_the_same_name_is_not_overwritten(photos, capsys):
    Path("next.html").write_text("mine")
    assert main(["suggest", "photos", "--output", "next.csv"]) == 1
    assert "next.html exists; give another --output, or remove it" in capsys.readouterr().err
    assert Path("next.html").read_text() == "mine"
    assert not Path("next.csv").exists()


def test_use_reads_the_table_back_once_it_is_filled_in(photos, project, capsys):
    from tests.helpers.tiny_sources import write_params

    write_params(project)
    main(["suggest", "photos", "--count", "8"])
    assert main(["use", "photos", "--labels", "suggestions.csv"]) == 1
    assert "no row has a label in column 'label'; fill it in" in capsys.readouterr().err
    table = pd.read_csv("suggestions.csv", keep_default_na=False)
    table["label"] = ["ant", "bee"] * 3 + ["", ""]
    table.to_csv("suggestions.csv", index=False)
    assert main(["use", "photos", "--labels", "suggestions.csv"]) == 0
    said = capsys.readouterr().out
    assert "classes    2: ant 3, bee 3" in said
    assert "2 rows have no label and are left out" in said


@pytest.mark.parametrize(
    "words, message",
    [
        (["nowhere"], "no such file or folder"),
        (["known.png"], "to choose from; already in the manifest: 1, cannot be read: 0\n"),
        (["photos/broken.png"], "manifest: 0, cannot be read: 1; photos/broken.png: not a JPEG"),
    ],
)
def test_nothing_to_choose_from_is_a_sentence(photos, project, capsys, words, message):
    (project / "known.png").write_bytes(encode(picture(3)))
    assert main(["suggest", *words]) == 1
    assert message in capsys.readouterr().err
    assert not Path("suggestions.csv").exists()


@pytest.mark.parametrize(
    "words", [["-"], ["photos", "--output", "a.xlsx"], ["photos", "--count", "0"], []]
)
def test_words_that_cannot_be_meant_are_argparses_errors(photos, words):
    with pytest.raises(SystemExit) as error:
        main(["suggest", *words])
    assert error.value.code == 2


def test_the_real_model_ranks_images_that_it_has_not_seen(world, capsys):
    build(Path("new"), class_folders(x=6))
    assert main(["suggest", "new", "images", "--count", "4", "--model", "head"]) == 0
    table = pd.read_csv("suggestions.csv")
    assert len(table) == 4
    assert table["path"].str.startswith("new/x/").all()
    assert table["doubt"].between(0, 1).all()
    assert "left out, because already in the manifest: 24 images" in capsys.readouterr().out
