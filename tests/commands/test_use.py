"""`python -m transfer use`: what it says of a source, and what it writes to params.yaml."""

import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.helpers.tiffs import tiff
from tests.helpers.tiny_pipeline import build_world, call, repro
from tests.helpers.tiny_sources import REPOSITORY, build, class_folders, encode, picture
from transfer.__main__ import main
from transfer.commands.use.command import parse_sizes
from transfer.commands.use.params_file import edited, rendered
from transfer.labels.find_labels import NO_TABLE
from transfer.runtime.errors import PipelineError

PETS = class_folders(cat=4, dog=5)


def split_params() -> dict:
    return yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))["split"]


def changed_lines() -> list[str]:
    before = (REPOSITORY / "params.yaml").read_text(encoding="utf-8").splitlines()
    after = Path("params.yaml").read_text(encoding="utf-8").splitlines()
    assert len(before) == len(after)
    return [new for old, new in zip(before, after, strict=True) if old != new]


def test_class_folders_are_described_and_written(here, capsys):
    build(here / "pets", PETS | {"cat/9.png": b"x", "cat/notes.txt": b"x"})
    assert main(["use", "pets"]) == 0
    said = capsys.readouterr().out
    for words in (
        "source     pets: 9 images",
        "formats    PNG 9",
        "labels     a folder for each class",
        "classes    2: cat 4, dog 5",
        "unusable   1 file",
        "           cat/9.png: ",
        "beside     1 file that is no image, such as cat/notes.txt",
        "split      train 60 %, validation 20 %, test 20 %",
        "use: wrote to params.yaml: split.source = pets, split.train = 0.6",
        "use: next: dvc repro",
    ):
        assert words in said
    assert [line.split("#")[0].strip() for line in changed_lines()] == [
        "source: pets",
        "train: 0.6",
        "validation: 0.2",
        "test: 0.2",
        "draw_by: checksum",
    ]
    assert "# three counts of images" in changed_lines()[1]


def test_a_dry_run_only_looks(here, capsys):
    build(here / "pets.zip", PETS)
    assert main(["use", "pets.zip", "--dry-run", "--split", "3/3/3"]) == 0
    assert changed_lines() == []
    assert "would write to params.yaml: split.source = pets.zip, split.train = 3" in (
        capsys.readouterr().out
    )


def test_a_second_run_keeps_what_was_chosen(here, capsys):
    build(here / "pets", PETS)
    main(["use", "pets", "--split", "50/25/25", "--group-by", r"\d"])
    capsys.readouterr()
    assert main(["use", "pets"]) == 0
    assert "nothing, since it says all this" in capsys.readouterr().out
    assert (split_params()["train"], split_params()["group_by"]) == (0.5, r"\d")
    build(here / "others", PETS)
    main(["use", "others"])
    assert (split_params()["train"], split_params()["group_by"]) == (0.5, None)


NAMES = [
    *(
        "é",
        "e\u0301",
        "日本",
        "(1)",
        "~",
        "a,b",
        "a b",
        "it's",
        'say "x"',
        "\\",
        "50 %",
        "a#b",
        "#1",
    ),
    *("a: b", "- x", "{a}", "[b]", "&x", "*y", "!z", "|", ">", "yes", "1e5", "0x1", "null"),
    "${split.seed}",
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("inside", [True, False], ids=["inside", "outside"])
def test_any_name_of_a_folder_is_written_as_it_is(here, name, inside):
    folder = build((here if inside else here.parent) / name, PETS)
    assert main(["use", name if inside else f"../{name}"]) == 0
    assert split_params()["source"] == (name if inside else str(folder))


def test_a_tilde_is_the_home_unless_a_folder_has_that_name(here, monkeypatch):
    monkeypatch.setenv("HOME", str(here.parent))
    build(here.parent / "pets", PETS)
    main(["use", "~/pets"])
    assert split_params()["source"] == str(here.parent / "pets")


def test_a_bucket_is_listed_and_written_as_it_is(here, capsys):
    import fsspec

    store = fsspec.filesystem("memory")
    for path, content in PETS.items():
        store.pipe(f"/bucket/pets/{path}", content)
    try:
        assert main(["use", "memory://bucket/pets"]) == 0
        assert split_params()["source"] == "memory://bucket/pets"
        assert "classes    2: cat 4, dog 5" in capsys.readouterr().out
    finally:  # other tests of this process list the same bucket
        store.store.clear()
        store.pseudo_dirs[:] = [""]


IMAGES = {f"images/{i}.png": encode(picture(i)) for i in range(6)}
TABLE = "id,kind,species\n" + "".join(f"{i},x,{'cd'[i % 2]}\n" for i in range(6))


def test_a_table_in_the_folder_is_found_where_there_are_no_class_folders(here, capsys):
    build(here / "set", IMAGES | {"train.csv": TABLE.replace("kind", "note").encode()})
    assert main(["use", "set"]) == 0
    assert split_params()["labels"] == "set/train.csv"
    said = capsys.readouterr().out
    assert "label in column 'species' (guessed)" in said
    assert "unusable" not in said


def test_the_metadata_files_of_splits_are_read_together(here, capsys):
    files = {}
    for k, split in enumerate(("train", "validation", "test")):
        names = [f"{i}.png" for i in range(4)]
        files |= {f"{split}/{name}": encode(picture(10 * k + i)) for i, name in enumerate(names)}
        rows = "".join(f"{name},{'ab'[i % 2]}\n" for i, name in enumerate(names))
        files[f"{split}/metadata.csv"] = f"file_name,label\n{rows}".encode()
    build(here / "set", files)
    assert main(["use", "set"]) == 0
    assert split_params()["labels"] == "set"
    said = capsys.readouterr().out
    assert "classes    2: a 6, b 6" in said
    assert "split      as the source has it" in said


def test_a_table_and_its_columns_are_given(here):
    build(here / "set", IMAGES)
    (here.parent / "labels.csv").write_text(TABLE)
    words = ["set", "--labels", "../labels.csv", "--column", "label=species", "--column", "path=id"]
    assert main(["use", *words]) == 0
    written = split_params()
    assert written["labels"] == str(here.parent / "labels.csv")
    assert written["columns"] == {
        "path": "id",
        "label": "species",
        "split": None,
        "group": None,
        "weight": None,
    }
    assert main(["use", "set", "--label-pattern", r"(?P<label>\d)"]) == 0
    written = split_params()
    assert (written["labels"], written["label_pattern"]) == (NO_TABLE, r"(?P<label>\d)")
    assert set(written["columns"].values()) == {None}


def test_a_table_beside_class_folders_is_mentioned(here, capsys):
    table = "path,label\n" + "".join(f"{path},{i % 3}\n" for i, path in enumerate(PETS))
    build(here / "pets", PETS | {"labels.csv": table.encode()})
    assert main(["use", "pets"]) == 0
    assert "pets/labels.csv labels 9 of the images too; --labels pets/labels.csv takes it" in (
        capsys.readouterr().out
    )
    assert split_params()["labels"] == NO_TABLE


def test_splits_of_the_source_are_told(here, capsys):
    files = {
        f"{split}/{path}": encode(picture(100 * k + i))
        for k, split in enumerate(("train", "val", "test"))
        for i, path in enumerate(PETS)
    }
    assert main(["use", str(build(here / "pets", files))]) == 0
    said = capsys.readouterr().out
    assert "already split into test (9), train (9), validation (9)" in said
    assert "split      as the source has it" in said


@pytest.mark.parametrize(
    "files, words, message",
    [
        ({}, [], "'set' holds no files"),
        (
            {"a.txt": b"x", "b.txt": b"y"},
            [],
            "holds no image, only 2 files: .txt (2); name the folder",
        ),
        ({"a.png": encode(picture(1))}, [], "holds no class folders"),
        (class_folders(cat=3), [], "one class folder, 'cat'; two or more are needed"),
        (
            PETS,
            ["--labels", "lables.csv"],
            "'lables.csv': no such file or folder; there is 'labels'",
        ),
        (PETS, ["--labels", "labels"], "'labels' is a folder without a metadata.csv"),
        (PETS, ["--label-pattern", r"x\d"], r"--label-pattern 'x\d': no group is named label"),
        (PETS, ["--group-by", "("], "split.group_by: not a regular expression"),
        (
            PETS,
            ["--column", "label=x"],
            "--column label=x is of a table, and the labels are those of folders",
        ),
    ],
)
def test_what_cannot_be_used_is_a_sentence(here, capsys, files, words, message):
    build(here / "set", files)
    (here / "labels").mkdir()
    assert main(["use", "set", *words]) == 1
    assert message in capsys.readouterr().err
    assert changed_lines() == []


def test_labels_in_the_names_of_files_are_noticed(here, capsys):
    build(here / "set", {f"{'ab'[i % 2]}x_{i}.png": encode(picture(i)) for i in range(8)})
    assert main(["use", "set"]) == 1
    said = capsys.readouterr().err
    assert "ax (4), bx (4); if so, add --label-pattern '" in said
    pattern = said.split("--label-pattern '")[1].rstrip("'\n")
    assert main(["use", "set", "--label-pattern", pattern]) == 0
    assert "classes    2: ax 4, bx 4" in capsys.readouterr().out


@pytest.mark.parametrize(
    "path, message",
    [
        ("petz", "'petz': no such file or folder; there is 'pets'"),
        ("nowhere/pets", "there is no folder"),
        ("..", "holds the project itself"),
        (".", "holds the project itself"),
        ("https://example.com/pets.zip", "download it first"),
        ("params.yaml", "neither a folder nor a .zip"),
    ],
)
def test_paths_that_are_no_source_are_sentences(here, capsys, path, message):
    build(here / "pets", PETS)
    assert main(["use", path]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "text, sizes",
    [
        ("70/15/15", (0.7, 0.15, 0.15)),
        ("70%/15%/15%", (0.7, 0.15, 0.15)),
        ("0.8,0.1,0.1", (0.8, 0.1, 0.1)),
        ("700/150/150", (700, 150, 150)),
        ("33.4 / 33.3 / 33.3", (0.334, 0.333, 0.333)),
    ],
)
def test_sizes_are_percentages_fractions_or_counts(text, sizes):
    assert parse_sizes(text) == sizes


@pytest.mark.parametrize(
    "words", [["--split", "70/20"], ["--split", "70%/20%/20%"], ["--split", "a/b/c"]]
)
def test_sizes_that_are_none_are_argparses_errors(here, capsys, words):
    with pytest.raises(SystemExit):
        main(["use", "set", *words])
    assert "--split" in capsys.readouterr().err


def test_params_yaml_is_edited_in_place_whatever_stands_in_it():
    text = (
        "a:\n  # first\n  x: 1   # one\n  y:\n  z: >-\n    folded\n    text\n"
        "  w: {k: v, l: m}  # w\nb: 2\n"
    )
    changes = {"a.x": 10, "a.y": "é, x", "a.z": None, "a.w.k": "n", "a.w.l": 0.25}
    assert edited(text, changes) == (
        'a:\n  # first\n  x: 10   # one\n  y: "é, x"\n  z: null\n  w: {k: n, l: 0.25}  # w\nb: 2\n'
    )
    for broken in ("a: [", "a: {"):
        with pytest.raises(PipelineError, match="not valid YAML"):
            edited(broken, {"a": 1})
    with pytest.raises(PipelineError, match="split.labels is missing"):
        edited("split:\n  source: x\n", {"split.labels": "y"})


@pytest.mark.parametrize(
    "value", [*NAMES, "plain/a-1.zip", "", " x", "no", "1:30", "tab\tx", None, 0.1, 0.00003, 1.0, 3]
)
def test_every_value_is_read_back_by_both_readers(value):
    from ruamel.yaml import YAML

    text = f"flow: {{key: {rendered(value)}}}\nblock: {rendered(value)}\n"
    for read in (yaml.safe_load, YAML(typ="safe").load):
        assert read(text) == {"flow": {"key": value}, "block": value}


def test_use_and_repro_of_a_folder_with_an_odd_name(tmp_path):
    build_world(tmp_path)
    name = "my photos (1), é ~'\"#${x}"
    (tmp_path / "images").rename(tmp_path / name)
    said = call("python", "-m", "transfer", "use", name, "--split", "50/25/25", cwd=tmp_path).stdout
    assert "classes    2: a 12, b 12" in said
    assert repro(tmp_path, "split").stages == ["split"]
    assert repro(tmp_path, "split").stages == []


def test_temporary_experiments_find_a_source_that_was_added_as_use_says(tmp_path):
    build_world(tmp_path)
    (tmp_path / "images").rename(tmp_path / "my photos")
    call("git", "add", "--all", ":!my photos", cwd=tmp_path)
    call("git", "commit", "--quiet", "-m", "world", cwd=tmp_path)
    said = call("python", "-m", "transfer", "use", "my photos", cwd=tmp_path).stdout
    advice = "For those, add it first: dvc add 'my photos' && git add 'my photos.dvc'"
    assert advice in said
    call("sh", "-c", advice.split(": ")[1], cwd=tmp_path)
    assert advice not in call("python", "-m", "transfer", "use", "my photos", cwd=tmp_path).stdout
    rows = [f"{label}/{i}.png,{label}" for label in "ab" for i in range(12)]
    (tmp_path / "labels.csv").write_text("\n".join(["path,label", *rows]))
    words = ("my photos", "--labels", "labels.csv")
    said = call("python", "-m", "transfer", "use", *words, cwd=tmp_path).stdout
    assert "labels.csv is in neither git nor DVC" in said
    assert "add it first: git add labels.csv" in said
    call("git", "add", "labels.csv", cwd=tmp_path)
    said = call("dvc", "exp", "run", "--temp", "split", cwd=tmp_path).stdout
    assert "Running stage 'split'" in said


def test_a_table_that_needs_an_extra_does_not_stop_class_folders(here, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    build(here / "set", PETS | {"other.parquet": b"PAR1"})
    assert main(["use", "set"]) == 0
    assert "a folder for each class" in capsys.readouterr().out
    build(here / "flat", {"a.png": encode(picture(1)), "labels.parquet": b"PAR1"})
    assert main(["use", "flat"]) == 1
    said = capsys.readouterr().err
    assert "flat/labels.parquet is a table of Parquet: pyarrow is not installed; `make" in said


def test_a_column_that_cannot_be_guessed_is_asked_for_by_its_option(here, capsys):
    rows = "".join(f"{i}.png,{'xy'[i % 2]},{i // 2}\n" for i in range(6))
    files = {f"{i}.png": encode(picture(i)) for i in range(6)}
    build(here / "set", files | {"labels.csv": f"id,diag,age\n{rows}".encode()})
    assert main(["use", "set"]) == 1
    assert "split.columns.label, here --column label=NAME" in capsys.readouterr().err
    assert main(["use", "set", "--column", "label=diag"]) == 0


TABLES = {  # a table in the folder of the images, and what is said of it
    "labels.csv": ("id,label\n0,cat|dog\n1,cat\n", "is several labels, divided by '|'"),
    "list.csv": ("id,a,b\n0,x,y\n1,x,z\n2,w,y\n", "which column is the label?"),
    "urls.csv": ("url,label\nhttps://x.org/gone.png,cat\n", "no row names a file of the source"),
    "Main/cat_train.txt": ("0  1\n1 -1\n2 -1\n", "says yes and no (1, -1) of one class"),
    "deep/meta/x.json": ('{"images": [1], "annotations": [{"bbox": [1]}]}', "has boxes"),
    "labels.xlsx": ("PK\3\4", "labels.xlsx may have the labels; save them as CSV"),
}


@pytest.mark.parametrize("name", TABLES)
def test_why_a_table_does_not_serve_is_said(here, capsys, name):
    text, message = TABLES[name]
    files = {f"images/{i}.png": encode(picture(i)) for i in range(4)}
    build(here / "set", files | {name: text.encode()})
    assert main(["use", "set"]) == 1
    said = capsys.readouterr().err
    assert "'set' has one class folder, 'images'" in said
    assert message in said


def test_images_of_numbers_that_split_reads_are_no_problem(here, capsys):
    deep = {
        f"{name}/{i}.tif": tiff(np.random.default_rng(i).random((8, 12, 3), "f4"), 32, 2)
        for name in ("cat", "dog")
        for i in range(3)
    }
    build(here / "set", deep)
    assert main(["use", "set", "--dry-run"]) == 0
    assert "formats    TIFF 6\n" in capsys.readouterr().out
