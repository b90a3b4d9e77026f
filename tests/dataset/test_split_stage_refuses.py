"""What `split` refuses, whole sources and single files, and how it says so."""

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.helpers.split_stage import CATS_AND_DOGS, FRACTIONS, KINDS, refusal, rejected, run_split
from tests.helpers.tiny_sources import (
    REPOSITORY,
    add_to_tar,
    build,
    class_folders,
    encode,
    picture,
    write_params,
)
from transfer.dataset.classes import check_classes
from transfer.dataset.dividing import count_sizes, divide
from transfer.dataset.split_params import SplitParams
from transfer.decoding.rgb import NAMES
from transfer.labels.find_labels import NO_TABLE
from transfer.labels.path_label import LabelColumns
from transfer.runtime.errors import PipelineError
from transfer.sources.scanned_file import ScannedFile, ScannedFiles


@pytest.mark.parametrize("kind", KINDS)
def test_a_bad_image_is_rejected_with_its_reason_and_the_rest_is_split(project, kind, capsys):
    bad = {
        "cat/empty.png": b"",
        "cat/half.png": encode(picture(1, 40, 40))[:2000],
        "dog/notes.jpg": b"notes about dogs",
        "readme.png": encode(picture(2)),
    }
    manifest = run_split(build(project / kind, CATS_AND_DOGS | bad), max_rejected=4)
    assert set(manifest["path"]) == set(CATS_AND_DOGS)
    assert rejected() == {
        "cat/empty.png": "the file is empty",
        "cat/half.png": "damaged or truncated: image file is truncated",
        "dog/notes.jpg": f"not a {NAMES} image, but text that begins 'notes about dogs'",
        "readme.png": "not in a class folder",
    }
    said = capsys.readouterr().out
    assert "4 files rejected (data/split/rejected.csv)" in said
    assert "cat/empty.png: the file is empty" in said


def test_more_bad_images_than_allowed_stop_the_stage_and_are_listed(project):
    words = refusal(
        build(project / "set", CATS_AND_DOGS | {f"cat/bad{i:02}.png": b"" for i in range(12)}),
        max_rejected=11,
    )
    assert (
        "12 files cannot be used, more than split.max_rejected = 11 (all of them are in "
        "data/split/rejected.csv)" in words
    )
    assert "  cat/bad00.png: the file is empty\n" in words
    assert "... and 2 more" in words
    assert "Repair or remove them, or raise split.max_rejected." in words
    assert len(rejected()) == 12


def test_a_background_that_is_no_colour_is_refused(project):
    source = build(project / "set", CATS_AND_DOGS)
    for value in ("whit", "rgb(300, 0, 0)", None, 5):
        words = refusal(source, decode={"background": value})
        assert f"decode.background = {value!r}: no colour; give a name such as white" in words


def test_names_that_are_not_utf8_are_rejected_and_can_be_listed(project, capsys):
    folder = build(project / "set", CATS_AND_DOGS)
    Path(os.fsdecode(os.fsencode(folder) + b"/cat/\xe9.png")).write_bytes(encode(picture(1)))
    run_split(folder, max_rejected=1)
    assert rejected()["cat/\\xe9.png"].startswith("the name is not UTF-8; rename it, with convmv")
    assert "cat/\\xe9.png: the name is not UTF-8" in capsys.readouterr().out


# Bad sources


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "holds no class folders; put each class's images in a folder of its own"),
        ({"1.png": b"x"}, "holds no class folders"),
        (
            class_folders(cat=5),
            "must hold 2 to 1,000 class folders with images, found only 'cat'; put each class's "
            "images",
        ),
        (
            class_folders(cat=5, dog=2, cow=1),
            "fewer images than splits in class 'cow' (1), 'dog' (2); train, validation and test "
            "need one each",
        ),
        (
            class_folders(cat=5, dog=5) | {"cow/1.png": b""},
            "no usable image in class folder 'cow'; add images or remove the folder",
        ),
    ],
    ids=["nothing", "no folders", "one class", "few images", "no usable image"],
)
@pytest.mark.parametrize("kind", KINDS)
def test_a_source_without_enough_in_it_is_refused(project, kind, files, words):
    assert words in refusal(build(project / kind, files), max_rejected=2)


def test_an_empty_class_folder_is_named(project):
    folder = build(project / "set", CATS_AND_DOGS)
    (folder / "cow").mkdir()
    assert (
        "set': no usable image in class folder 'cow'; add images or remove the folder"
        in refusal(folder)
    )
    archive = project / "set.tar"
    with tarfile.open(archive, "w") as tar:
        for path, content in CATS_AND_DOGS.items():
            add_to_tar(tar, path, content)
        add_to_tar(tar, "cow", type=tarfile.DIRTYPE)
    assert "no usable image in class folder 'cow'" in refusal(archive)
    assert "no usable image in class folder 'cow'" in refusal(
        build(project / "set.zip", CATS_AND_DOGS | {"cow/": b""})
    )


def test_a_class_with_too_few_groups_is_named(project):
    files = class_folders(cat=6) | {f"dog/{i}.png": encode(picture(99)) for i in range(6)}
    words = refusal(build(project / "set", files))
    assert words.startswith("class 'dog' has none in ")
    assert "a class needs at least three groups of its own" in words


@pytest.mark.parametrize("n", [2, 1000])
def test_two_to_a_thousand_classes_are_divided(n):
    images = ScannedFiles(
        ScannedFile(
            f"{c:04}/{i}",
            sha256=f"{c:060}{i:04}",
            perceptual=f"{c:012}{i:04}",
            class_name=f"{c:04}",
        )
        for c in range(n)
        for i in range(5)
    )
    check_classes(images, images, set(), "set")
    manifest = divide(images, params_of(), is_split=False)
    assert (
        pd.crosstab(manifest["class_name"], manifest["split"])[["train", "validation", "test"]]
        == [3, 1, 1]
    ).all(axis=None)


def test_more_than_a_thousand_classes_are_refused():
    images = ScannedFiles(ScannedFile(f"{c:04}/1", class_name=f"{c:04}") for c in range(1001))
    with pytest.raises(
        PipelineError, match="must hold 2 to 1,000 class folders with images, found 1,001"
    ):
        check_classes(images, images, set(), "set")


# Bad parameters


def params_of(**changes) -> SplitParams:
    return SplitParams(
        **(
            {
                "source": "set",
                "labels": NO_TABLE,
                "columns": dict.fromkeys(LabelColumns.model_fields),
                "label_pattern": None,
                "class_names": None,
                "group_by": None,
                "near_copies": True,
                "near_copy_bits": 0,
                "min_images": 0,
                "merge_case": None,
                "follow_links": False,
                "max_rejected": 0,
                "seed": 0,
                "order": "path",
                "manifest": "csv",
            }
            | FRACTIONS
            | changes
        )
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"train": 0.5},
            "split: train, validation, test = 0.5, 0.2, 0.2 add up to 0.9; fractions must add up "
            "to 1",
        ),
        ({"train": 0.9}, "0.9, 0.2, 0.2 add up to 1.3; fractions must add up to 1"),
        (
            {"train": 10},
            "train, validation, test = 10, 0.2, 0.2: give three fractions that add up to 1, three "
            "percentages that add up to 100, or three whole numbers of images",
        ),
        ({"train": 10.5, "validation": 5, "test": 5}, "10.5, 5, 5: give three fractions"),
        (
            {"train": 0.8, "validation": 0},
            "split.validation = 0: the validation images choose each network's epoch, so some are "
            "needed; give a small share, 0.1 or 10 % say. Only test may be 0",
        ),
        ({"test": -0.2}, "split.test = -0.2: Input should be greater than or equal to 0"),
        ({"train": "many"}, "split.train = 'many': Input should be a valid number"),
        (
            {"train": 500, "validation": 200, "test": 100},
            "500 + 200 + 100 = 800, but only 25 usable images were found; lower them, or give "
            "fractions",
        ),
        ({"train": 1e30, "validation": 1, "test": 1}, "but only 25 usable images were found"),
        ({"seed": -1}, "split.seed = -1: Input should be greater than or equal to 0"),
        (
            {"max_rejected": -1},
            "split.max_rejected = -1: Input should be greater than or equal to 0",
        ),
        ({"sede": 1}, "unknown parameter split.sede = 1; check the spelling"),
        ({"source": ""}, "split.source = '': String should have at least 1 character"),
        ({"source": None}, "split.source = None: Input should be a valid string"),
        (
            {"group_by": "(p"},
            "split.group_by = '(p': not a regular expression: missing ), unterminated subpattern "
            "at position 0",
        ),
        (
            {"group_by": "a{99999999999}"},
            "split.group_by = 'a{99999999999}': not a regular expression: the repetition number is "
            "too large",
        ),
        ({"group_by": "(" * 3000}, "not a regular expression: maximum recursion depth exceeded"),
        ({"group_by": 5}, "split.group_by = 5: Input should be a valid string"),
        (
            {"group_by": "patient"},
            "split.group_by = 'patient' matches nothing in any path, the first being 'cat/0.png'; "
            "fix the expression",
        ),
        ({"group_by": "z*"}, "split.group_by = 'z*' matches nothing in any path"),
        ({"group_by": ""}, "split.group_by = '' matches nothing in any path"),
        ({"group_by": "^(cat|dog)"}, "class 'cat' has none in"),
    ],
)
def test_a_parameter_that_cannot_work_is_refused_with_its_value(project, changes, words):
    build(project / "set", CATS_AND_DOGS)
    assert words in refusal(**{"source": "set"} | changes)


@pytest.mark.parametrize("n", [3, 25, 922, 1_000_003])
@pytest.mark.parametrize(
    "sizes", [(0.6, 0.2, 0.2), (0.8, 0.1, 0.1), (0.333333, 0.333333, 0.3333331)]
)
def test_fractions_use_every_image(sizes, n):
    found = count_sizes(params_of(**dict(zip(FRACTIONS, sizes, strict=True))), n)
    assert found.sum() == n
    assert found[3] == 0
    assert np.abs(found[:3] - np.array(sizes) / sum(sizes) * n).max() <= 1


# As a program


def run_program(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-W", "error", "-m", "stages.split", *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_the_program_splits_and_notes_its_time_outside_the_results(project):
    write_params(project, split=FRACTIONS | {"source": "set"})
    build(project / "set", CATS_AND_DOGS)
    finished = run_program(project)
    assert finished.returncode == 0
    assert "split: 2 classes, 25 images, 0 files rejected" in finished.stdout
    assert sorted(
        path.relative_to(project).as_posix()
        for path in project.rglob("*")
        if path.is_file() and "set" not in path.parts
    ) == [
        "data/manifest/manifest.csv",
        "data/manifest/pixels.json",
        "data/split/duplicates.csv",
        "data/split/hashes.csv",
        "data/split/notes.json",
        "data/split/rejected.csv",
        "logs/split.json",
        "logs/split.lock",
        "params.yaml",
    ]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"source": "nowhere.zip"},
            "split: split.source = 'nowhere.zip': no such folder or archive; give a path that "
            "exists",
        ),
        (
            {"source": "set", "seed": "abc"},
            "split: params.yaml: split.seed = 'abc': Input should be a valid integer",
        ),
    ],
)
def test_a_mistake_ends_the_program_with_1_and_without_a_traceback(project, changes, words):
    write_params(project, split=FRACTIONS | changes)
    build(project / "set", CATS_AND_DOGS)
    finished = run_program(project)
    assert finished.returncode == 1
    assert words in finished.stderr
    assert "Traceback" not in finished.stderr
    assert not (project / "data").exists()


def test_a_refusal_by_the_machine_ends_the_program_with_1_and_without_a_traceback(project):
    write_params(project, split=FRACTIONS | {"source": "set"})
    build(project / "set", CATS_AND_DOGS)
    (project / "data").write_text("a file where a folder should be")
    finished = run_program(project)
    assert finished.returncode == 1
    assert (
        "split: data/split: Not a directory; nothing is half-written: fix that and run the stage "
        "again" in finished.stderr
    )
    assert "Traceback" not in finished.stderr
