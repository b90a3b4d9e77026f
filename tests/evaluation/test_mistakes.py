"""The pictures of mistakes: which ones, one by one and on a sheet, with names in any script."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from transfer.evaluation import fonts, mistakes
from transfer.evaluation.mistakes import (
    caption,
    draw_mistakes,
    most_confident_mistakes,
    shorten,
    side_by_side,
    write_pictures,
)


def test_the_surest_mistake_comes_first_and_right_answers_not_at_all():
    labels = np.array([0, 0, 1, 1])
    chances = np.array([[0.4, 0.6], [0.9, 0.1], [0.8, 0.2], [0.6, 0.4]])
    assert most_confident_mistakes(labels, chances, 10).tolist() == [2, 0, 3]
    assert most_confident_mistakes(labels, chances, 1).tolist() == [2]


def test_only_large_pairs_are_shrunk():
    small, large = (np.zeros((side, side, 3), dtype=np.uint8) for side in (64, 224))
    assert side_by_side(small, small).shape == (64, 128, 3)
    assert side_by_side(large, large).shape == (128, 256, 3)


def test_pictures_replace_those_of_the_run_before(tmp_path):
    picture = np.zeros((4, 8, 3), dtype=np.uint8)
    assert write_pictures(tmp_path / "head", [picture] * 3) == ["001.png", "002.png", "003.png"]
    write_pictures(tmp_path / "head", [picture])
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["001.png"]


def draw_sheet(path, n: int) -> int:
    """Draw a sheet of n pictures; its height."""
    row = {
        "file": "001.png",
        "path": "cat/image_of_a_rather_long_name_indeed.jpg",
        "actual": "cat",
        "predicted": "$dog_1",
        "probability": 0.8,
    }
    draw_mistakes(
        path,
        "head",
        [np.full((8, 16, 3), 128, dtype=np.uint8)] * n,
        pd.DataFrame([row] * n, columns=list(row)),
        ["$dog_1", "cat"],
    )
    with Image.open(path) as image:
        return image.height


def test_the_sheet_of_mistakes_grows_with_them(tmp_path):
    heights = [draw_sheet(tmp_path / f"{n}.png", n) for n in (0, 3, 4, 5, 24)]
    assert heights[0] == heights[1] == heights[2] < heights[3] < heights[4]


def test_the_sheet_has_a_limit_whatever_max_mistakes_is(tmp_path, monkeypatch):
    monkeypatch.setattr(mistakes, "MOST_ON_SHEET", 4)
    heights = [draw_sheet(tmp_path / f"{n}.png", n) for n in (4, 9)]
    assert heights[0] == heights[1]


def test_the_sheet_repeats_byte_for_byte(tmp_path):
    draw_sheet(tmp_path / "a.png", 5)
    draw_sheet(tmp_path / "b.png", 5)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


NAMES = {  # as captions: what is drawn of a name
    "кошка": "кошка",
    "größe": "größe",
    "gro\u0308ße": "größe",
    "חתול": "\u200eחתול\u200e",
    "قط": "\u200eقط\u200e",
}
WITH_FONTS = ["猫", "고양이", "แมว", "कुत्ता", "ছানা", "ឆ្មា", "பூனை", "పిల్లి"]  # with the extra `fonts`
NUMBER = "class 1"  # of two, in place of a name that no font has


@pytest.fixture
def without_fonts(monkeypatch):
    """As if the extra `fonts` were not installed."""
    monkeypatch.setattr(fonts, "_installed", dict)
    for cached in (fonts.families, fonts._fonts):
        cached.cache_clear()
    yield
    for cached in (fonts.families, fonts._fonts):
        cached.cache_clear()


def sheet(path, name: str) -> np.ndarray:
    """The grey levels of a sheet with one mistake, of a class of that name."""
    row = {"file": "007.png", "path": f"x/{name}", "actual": name, "predicted": "cat"}
    table = pd.DataFrame([row | {"probability": 0.9}])
    draw_mistakes(path, "head", [np.full((8, 16, 3), 255, np.uint8)], table, ["cat", name])
    return np.asarray(Image.open(path).convert("L"))


def words(name: str) -> str:
    """The caption of that mistake."""
    row = {"file": "007.png", "path": f"x/{name}", "actual": name, "predicted": "cat"}
    table = pd.DataFrame([row | {"probability": 0.9}])
    return caption(next(table.itertuples()), ["cat", name])


@pytest.mark.parametrize(("name", "drawn"), [*NAMES.items(), *((n, n) for n in WITH_FONTS)])
def test_names_in_any_script_are_drawn(name, drawn):
    assert words(name) == f"{drawn}\n{drawn} taken for cat, 90%"


@pytest.mark.parametrize("name", [*WITH_FONTS, "🐶"])
def test_names_are_replaced_without_a_font_for_them(name, without_fonts):
    assert words(name) == f"007.png\n{NUMBER} taken for cat, 90%"


@pytest.mark.parametrize(("name", "drawn"), NAMES.items())
def test_most_alphabets_need_no_extra(name, drawn, without_fonts):
    assert words(name) == f"{drawn}\n{drawn} taken for cat, 90%"


@pytest.mark.filterwarnings("error")  # Matplotlib warns where it draws a box for a character
@pytest.mark.parametrize("name", WITH_FONTS)
def test_the_fonts_draw_the_names(name, tmp_path):
    foot = sheet(tmp_path / "sheet.png", name)[-20:]
    assert foot.min() > 128


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("name", "has_footnote"), [("猫", True), ("кошка", False)])
def test_a_sheet_without_some_names_says_so_at_its_foot(
    name, has_footnote, tmp_path, without_fonts
):
    foot = sheet(tmp_path / "sheet.png", name)[-20:]
    assert (foot.min() < 128) == has_footnote


def test_a_sheet_is_the_same_bytes_with_and_without_fonts_that_it_does_not_need(tmp_path, request):
    sheet(tmp_path / "with.png", "кошка")
    request.getfixturevalue("without_fonts")
    sheet(tmp_path / "without.png", "кошка")
    assert (tmp_path / "with.png").read_bytes() == (tmp_path / "without.png").read_bytes()


def test_captions_of_long_names_stay_above_their_pictures(tmp_path):
    name = "black_footed_albatross_and_some_more_words"
    row = {"file": "1.png", "path": f"x/{name}.jpg", "actual": name, "predicted": name[::-1]}
    table = pd.DataFrame([row | {"probability": 1.0}] * 4)
    pairs = [np.full((8, 16, 3), 255, np.uint8)] * 4
    draw_mistakes(tmp_path / "sheet.png", "", pairs, table, [name, name[::-1]])
    sheet = np.asarray(Image.open(tmp_path / "sheet.png").convert("L"))
    edges = [x for column in range(1, 4) for x in range(208 * column - 2, 208 * column + 2)]
    assert sheet.min() < 128 < sheet[:, [0, 1, *edges, -2, -1]].min()


def test_long_names_keep_both_ends():
    assert shorten("cat.jpg", 27) == "cat.jpg"
    assert shorten("a" * 20 + "b" * 20, 27) == "a" * 13 + "…" + "b" * 13
