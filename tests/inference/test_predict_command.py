"""`python -m transfer predict`: the same answers as evaluate's, a row for whatever comes, and exit
codes that say what happened."""

import csv
import io
import json
import os
import shlex
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from tests.helpers.tiffs import tiff
from tests.helpers.tiny_pipeline import MODELS, ROOT, call
from tests.helpers.tiny_sources import build, encode, picture
from tests.helpers.typed import Said, typed
from transfer.inference.predictor import Predictor, load_predictor
from transfer.runtime.cores import available_cores
from transfer.sources.source_file import SourceFile
from transfer.sources.value_ranges import PixelRules


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


def split_rows(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


# What one process of its own, set up as the stages are, makes of the world:
# each run's words and file.
RUNS = {
    **{name: ["--model", name, "images"] for name in MODELS},
    "alone": ["images/b/7.png"],
    "other order": [f"images/{label}/{i}.png" for label in "ba" for i in (7, 3, 11, 0, 5, 2)] * 5,
    "no novelty": ["--no-novelty", "images"],
    "archive": ["images.zip"],
}


# a run of the command, then those of the modules that it can do without and has imported
IMPORTS = """
import json, sys
from transfer.commands import predict
assert predict.main(sys.argv[1:]) == 0
slow = ("tensorflow", "keras", "pandas", "scipy", "sklearn", "matplotlib", "h5py", "pyarrow")
print(json.dumps([name for name in slow if name in sys.modules]))
"""


@pytest.fixture(scope="module")
def told(base: Path, tmp_path_factory) -> dict[str, list[dict]]:
    folder = tmp_path_factory.mktemp("told")
    files = {
        path.relative_to(base / "images").as_posix(): path.read_bytes()
        for path in sorted((base / "images").rglob("*.png"))
    }
    archive = build(folder / "images.zip", files)
    runs = {
        name: [*words, "--output", str(folder / f"{name}.jsonl")] for name, words in RUNS.items()
    }
    runs["archive"][0] = str(archive)
    code = (
        "import json, sys; from transfer.commands import predict\n"
        "for words in json.loads(sys.argv[1]): assert predict.main(words) == 0, words"
    )
    call("python", "-c", code, json.dumps(list(runs.values())), cwd=base)
    return {name: split_rows((folder / f"{name}.jsonl").read_text()) for name in runs}


@pytest.mark.parametrize("name", MODELS)
def test_a_test_image_gets_the_answer_that_evaluate_has(base, told, name):
    """The same class and the same digits of the calibrated probability."""
    rows = {row["path"]: row for row in told[name]}
    evaluated = list(
        csv.DictReader(io.StringIO((base / f"data/evaluation/{name}/predictions.csv").read_text()))
    )
    assert len(rows) == 24
    assert len(evaluated) == 6
    for one in evaluated:
        row = rows[f"images/{one['path']}"]
        assert (row["predicted"], str(row["probability"])) == (one["predicted"], one["probability"])


def test_a_row_depends_on_its_image_alone(told):
    among = {row["path"]: row for row in told["finetuned"]}
    assert told["alone"] == [among["images/b/7.png"]]
    assert told["other order"] == [among[path] for path in RUNS["other order"]]
    assert [row | {"path": ""} for row in told["archive"]] == [
        row | {"path": ""} for row in told["finetuned"]
    ]


def test_without_novelty_the_rest_is_the_same(told):
    assert told["no novelty"] == [
        row | {"unlike": None, "distance": None} for row in told["finetuned"]
    ]


def test_novelty_compares_the_mean_distance_to_the_nearest_training_images_with_validation(
    base, told
):
    manifest = csv.DictReader(io.StringIO((base / "data/manifest/manifest.csv").read_text()))
    params = yaml.safe_load((base / "params.yaml").read_text())
    rows = {row["path"]: row for row in told["finetuned"]}
    vectors = {}
    for split in ("train", "validation"):
        means = (
            np.load(base / f"data/features/{split}/cut.npy").astype(np.float64).mean(axis=(1, 2))
        )
        vectors[split] = means / np.linalg.norm(means, axis=1, keepdims=True)
    usual = np.sort(
        [
            np.sort(np.linalg.norm(vectors["train"] - each, axis=1))[
                : params["audit"]["neighbours"]
            ].mean()
            for each in vectors["validation"]
        ]
    )
    named = [f"images/{each['path']}" for each in manifest if each["split"] == "validation"]
    assert np.sort([rows[path]["distance"] for path in named]) == pytest.approx(usual, abs=2e-6)
    assert sorted(rows[path]["unlike"] for path in named) == pytest.approx(
        [100 * i / len(named) for i in range(len(named))], abs=0.01
    )
    assert told["head"][0]["distance"] == told["finetuned"][0]["distance"], (
        "the layers in front of the cut are every model's"
    )


def test_on_a_warm_cache_neither_keras_nor_what_else_loads_slowly_is_imported(base, told):
    """`told` has converted the models."""
    finished = call("python", "-c", IMPORTS, "images/b/7.png", "--format", "jsonl", cwd=base)
    *rows, imported = finished.stdout.splitlines()
    assert split_rows("\n".join(rows)) == told["alone"]
    assert json.loads(imported) == []
    assert "converting" not in finished.stderr


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            "from transfer.classifiers import loading\n"
            "def refuse(name): raise loading.CannotConvertError('no such operation')\n"
            "loading.load_converted = refuse\n",
            "the model is computed by Keras's backend, not by LiteRT: no such operation",
        ),
        (
            "from transfer.compute import litert_support\n"
            "litert_support.find_spec = lambda name: None\n"
            "sys.modules['ai_edge_litert'] = None\n",
            "the frozen layers are computed by Keras's backend, not by LiteRT: LiteRT is not "
            "installed",
        ),
    ],
)
def test_keras_computes_what_litert_cannot(base, told, change, reason):
    """And standard output holds nothing but the predictions."""
    code = (
        f"import sys\n{change}from transfer.commands import predict\n"
        "sys.exit(predict.main(['--model', 'head', '--format', 'jsonl', 'images']))"
    )
    finished = call("python", "-c", code, cwd=base)
    assert reason in finished.stderr
    for row, expected in zip(split_rows(finished.stdout), told["head"], strict=True):
        assert (row["path"], row["predicted"]) == (expected["path"], expected["predicted"])
        assert row["probability"] == pytest.approx(expected["probability"], abs=2e-6)
        assert row["distance"] == pytest.approx(expected["distance"], abs=2e-6)


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
        == "100,000 bytes, more than the 5,000 that one image may have"
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


def test_duplicates_are_predicted_each_time_they_are_named(say):
    said = say(*["images/a/0.png"] * 3, "--format=jsonl")
    rows = split_rows(said.out)
    assert len(rows) == 3
    assert rows[0] == rows[1] == rows[2]


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
