"""`python -m transfer predict`: a row for whatever comes, and exit codes that say what happened."""

import csv
import io
import os
import shlex
import sys
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from PIL import Image

from tests.helpers.tiffs import tiff
from tests.helpers.tiny_pipeline import ROOT, call
from tests.helpers.tiny_sources import build, encode, picture
from tests.helpers.typed import Said, split_rows, typed
from transfer.decoding.value_ranges import PixelRules
from transfer.inference.predictor import Predictor, load_predictor
from transfer.runtime.cores import available_cores
from transfer.sources.source_file import SourceFile


@pytest.fixture(scope="module")
def loaded() -> Callable[[str, bool], Predictor]:
    return cache(lambda model, with_novelty: load_predictor(model, with_novelty=with_novelty))


@pytest.fixture
def predictor(world, loaded) -> Predictor:
    return loaded("finetuned", True)


@pytest.fixture
def say(world, loaded, monkeypatch, capsys) -> Callable[..., Said]:
    """Type the command's words; a backend is set up once a process, and a model loaded once."""
    monkeypatch.setattr(
        "transfer.inference.predictor.load_predictor",
        lambda name, *, with_novelty: loaded(name, with_novelty),
    )

    return typed("predict", monkeypatch, capsys)


def test_images_are_read_by_the_rules_of_the_training_images(world, monkeypatch):
    rules = PixelRules({"unsigned": (0, 4080)}, background=(9, 8, 7))
    monkeypatch.setattr("transfer.inference.predictor.load_pixel_rules", lambda background: rules)
    predictor = load_predictor("finetuned", with_novelty=False)
    levels = np.asarray(picture(0))
    deep = tiff(levels.astype("u2") * 16, 16, 2)
    assert (predictor.decode(deep) == predictor.decode(encode(picture(0)))).all()
    hole = picture(0).convert("RGBA")
    hole.putalpha(
        Image.linear_gradient("L").resize(hole.size).point(lambda level: 255 * (level > 99))
    )
    assert (np.asarray(predictor.open(encode(hole)))[0] == (9, 8, 7)).all()


def test_what_is_nothing_like_the_training_images_is_marked(say, world):
    build(world / "odd", {"flat.png": encode(picture(0).resize((1, 1)).resize((40, 40)))})
    said = say("odd", "images/a/0.png")
    header, odd, usual = said.out.splitlines()
    assert header.split() == ["path", "predicted", "probability", "distance", "unlike"]
    assert odd.endswith("100.0 !")
    assert not usual.endswith("!")
    assert said.err.endswith(
        "predict: 2 images, 1 less like the training images than 99 of 100 validation images are\n"
    )


@pytest.fixture
def bad(world) -> dict[str, str]:
    """Files that are no images, by what is said of them."""
    jpeg, noise = encode(picture(1, 200, 200), "JPEG"), np.random.default_rng(0).bytes(5000)
    said = {
        "random.png": (noise, "not a JPEG, PNG, GIF, BMP, WebP, TIFF"),
        "cut.jpg": (jpeg[: len(jpeg) // 2], "damaged or truncated"),
        "text.txt": (b"just words", "not a JPEG"),
        "empty.gif": (b"", "the file is empty"),
        "broken.zip": (b"PK\3\4" + noise, "neither a folder nor a .zip"),
    }
    build(world / "bad", {name: content for name, (content, _) in said.items()})
    return {f"bad/{name}": problem for name, (_, problem) in said.items()}


def test_bad_images_are_rows_with_an_error_and_the_exit_code_tells(say, bad):
    files = [name for name in bad if not name.endswith(".zip")]
    said = say("--format", "jsonl", *files, "images/a/0.png", "bad")
    assert said.code == 3
    *one_by_one, sound = split_rows(said.out)[: len(files) + 1]
    assert [row["path"] for row in one_by_one] == files
    for row in one_by_one:
        assert bad[row["path"]] in row["error"]
        assert {value for key, value in row.items() if key not in ("path", "error")} == {None}
    assert sound["error"] is None
    assert sorted(row["path"] for row in split_rows(said.out)[len(files) + 1 :]) == sorted(bad)
    assert said.err.endswith("predict: 10 images, 9 could not be read\n")


def test_an_archive_that_cannot_be_opened_is_an_error_or_a_row_in_a_list(say, bad):
    assert say("bad/broken.zip").code == 1
    said = say("-", "--format=jsonl", stdin=b"bad/broken.zip\nimages/a/0.png\n")
    assert said.code == 3
    assert [
        row["error"] and row["error"].startswith("'bad/broken.zip': neither a folder")
        for row in split_rows(said.out)
    ] == [True, None]


def test_what_a_reader_refuses_in_an_archive_is_a_row(say, world, monkeypatch):
    monkeypatch.setattr("transfer.sources.source_file.MAX_FILE_BYTES", 5000)
    build(
        world / "some.zip",
        {
            "bomb.png": bytes(100_000),
            "../climbs.png": encode(picture(1)),
            "sound.png": encode(picture(2)),
        },
    )
    (world / "bomb.png").write_bytes(bytes(100_000))
    said = say("some.zip", "bomb.png", "--format=jsonl")
    errors = {row["path"]: row["error"] for row in split_rows(said.out)}
    assert errors["some.zip/sound.png"] is None
    assert "climbs out" in errors["some.zip/../climbs.png"]
    assert (
        errors["bomb.png"]
        == errors["some.zip/bomb.png"]
        == "100,000 bytes, more than the 5,000 that one image may have; shrink it"
    )


def test_a_network_without_a_finite_number_is_a_row_too(predictor, monkeypatch):
    monkeypatch.setattr(predictor, "_storage", "float16")

    def overflowing(images):
        return [np.full((len(images), side, side, 512), 1e6, np.float32) for side in (2, 1)]

    monkeypatch.setattr(overflowing, "uses_all_cores", True, raising=False)
    monkeypatch.setattr(predictor, "_network", overflowing)
    (row,) = predictor.stream([SourceFile("x", encode(picture(0)))])
    assert row.prediction is None
    assert "no finite number" in row.problem


def test_formats_say_the_same(say, world):
    words = ("images/a/0.png", "images/b/0.png", "nowhere/x.png", "--top-k", "5")
    (world / "nowhere").mkdir()
    (world / "nowhere/x.png").touch()
    as_csv = list(csv.DictReader(io.StringIO(say(*words, "--format", "csv").out)))
    as_jsonl = split_rows(say(*words, "--format", "jsonl").out)
    assert list(as_jsonl[0]) == [
        "path",
        "predicted",
        "probability",
        "class_2",
        "probability_2",
        "unlike",
        "distance",
        "error",
    ]
    assert as_csv == [
        {key: "" if value is None else str(value) for key, value in row.items()} for row in as_jsonl
    ]
    assert as_jsonl[0]["probability"] >= 0.5
    assert as_jsonl[0]["probability"] + as_jsonl[0]["probability_2"] == pytest.approx(1, abs=2e-6)


def test_the_table_fits_a_terminal_and_sends_it_no_controls(say, world):
    name = "evil\x1b[2J\u202e" + "長い名前" * 20 + ".png"
    build(world / "odd", {"x" * 150 + ".png": encode(picture(0)), "bad.png": b"x"})
    (world / name).write_bytes(encode(picture(1)))
    said = say("odd", name, "images", "--top-k", "2")
    assert "\x1b" not in said.out
    assert "\u202e" not in said.out
    lines = said.out.splitlines()
    assert all(
        len(line) + line.count("長") + line.count("い") + line.count("名") + line.count("前") <= 120
        for line in lines
    )
    assert (
        len({line.index(" a ") for line in lines if line.startswith("images") and " a " in line})
        == 1
    ), "columns are aligned"
    assert len(lines) == 28


def test_an_output_file_appears_whole_and_its_suffix_is_its_format(say, world):
    assert say("images/a", "--output", "out/labels.csv").out == ""
    before = (world / "out/labels.csv").read_text()
    assert len(list(csv.DictReader(io.StringIO(before)))) == 12
    assert say("-", "--output", "out/labels.csv").code == 1, "an empty list"
    assert (world / "out/labels.csv").read_text() == before
    assert [path.name for path in (world / "out").iterdir()] == ["labels.csv"]
    say("images/a/0.png", "--output", "labels.csv", "--format", "jsonl")
    assert split_rows((world / "labels.csv").read_text())[0]["path"] == "images/a/0.png"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["missing.png"], "'missing.png': no such file or folder"),
        (["images/*.jpeg"], "'images/*.jpeg': no file matches"),
        (["images/*"], "'images/*': no file matches"),
        (["empty"], "'empty': no files in it"),
        (["images", "--output", "params.yaml/x.csv"], "params.yaml"),
        (["-"], "standard input has no path"),
    ],
)
def test_a_mistake_is_a_sentence(say, world, words, message):
    (world / "empty").mkdir()
    (world / "empty/.hidden").touch()
    said = say(*words)
    assert said.code == 1
    assert said.err.splitlines()[-1].startswith("predict: ")
    assert message in said.err
    assert "Traceback" not in said.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "the following arguments are required: PATHS"),
        (["x", "--top-k", "0"], "argument --top-k"),
        (["x", "--format", "xml"], "argument --format"),
        (
            ["x", "--output", "labels.xls"],
            "--output labels.xls: its suffix is none of .csv, .jsonl, .ndjson, .txt; add --format",
        ),
        (["-", "x", "-"], "- can be given only once"),
        (["x", "--null"], "--null is about paths on standard input"),
    ],
)
def test_a_wrong_command_line_is_told_so(say, words, message):
    said = say(*words)
    assert said.code == 2
    assert message in said.err


def test_help_says_the_exit_codes(say):
    said = say("--help")
    assert said.code == 0
    for code in "0123":
        assert f"\n  {code}    " in said.out
    assert max(map(len, said.out.splitlines())) <= 140


def test_a_reader_that_has_had_enough_ends_it_quietly(say, monkeypatch, capsys):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        assert say("images").code == 0
    assert capsys.readouterr().err == ""


def test_an_interruption_leaves_nothing_behind(say, world, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("transfer.inference.cli.tqdm", interrupted)
    assert say("images", "--output", "labels.csv") == (130, "", "")
    assert not any(path.name.endswith("labels.csv") for path in world.iterdir())


def test_images_are_read_only_as_far_ahead_as_keeps_the_cores_busy(predictor):
    """And rows come while the source is still being read."""
    content, drawn = encode(picture(0)), 0

    def source():
        nonlocal drawn
        for number in range(1000):
            drawn += 1
            yield SourceFile(str(number), content)

    rows = predictor.stream(source())
    under_way = 2 * available_cores() + 1
    for number in range(200):
        assert next(rows).path == str(number)
        assert drawn - number <= (under_way + 2) * predictor.batch_size + under_way
    rows.close()
    assert drawn < 1000


def test_the_lines_of_the_readme_label_images(say, world):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text[text.index("## Label new images") :].split("\n## ")[0]
    to_file, as_table, piped = (
        line.strip() for line in section.splitlines() if line.startswith("    ")
    )
    build(
        world / "photos",
        {"2025/one.jpg": encode(picture(1), "JPEG"), "two.png": encode(picture(2))},
    )
    build(world / "more.zip", {"three.webp": encode(picture(3), "WEBP")})
    assert say(*words_of(to_file)).code == 0
    with (world / "labels.csv").open() as file:
        assert [row["path"] for row in csv.DictReader(file)] == [
            "photos/2025/one.jpg",
            "photos/two.png",
            "more.zip/three.webp",
        ]
    assert [line.split()[0] for line in say(*words_of(as_table)).out.splitlines()] == [
        "path",
        "photos/2025/one.jpg",
    ]
    finished = call("bash", "-o", "pipefail", "-c", piped, cwd=world)
    assert [row["path"] for row in split_rows(finished.stdout)] == ["photos/two.png"]
    assert "Traceback" not in finished.stderr


def words_of(line: str) -> list[str]:
    words = shlex.split(line, comments=True)
    assert words[:4] == ["python", "-m", "transfer", "predict"]
    return words[4:]
