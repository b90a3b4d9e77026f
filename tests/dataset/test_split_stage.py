"""The split of a good source: sizes, seeds, groups, and what is reported."""

import hashlib
from pathlib import Path

import imagehash
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.helpers.split_stage import (
    CATS_AND_DOGS,
    FRACTIONS,
    KINDS,
    counts,
    refusal,
    rejected,
    run_split,
    sides,
)
from tests.helpers.tiny_sources import REPOSITORY, build, class_folders, encode, picture
from transfer.dataset.notes_file import read_notes


@pytest.mark.parametrize(
    "sizes", [FRACTIONS, {"train": 15, "validation": 5, "test": 5}], ids=["fractions", "counts"]
)
def test_a_stratified_split_of_the_sizes_asked_for(project, sizes):
    manifest = run_split(build(project / "set", CATS_AND_DOGS), **sizes)
    table = pd.crosstab(manifest["class_name"], manifest["split"])
    assert table.loc["cat"].to_dict() == {"train": 6, "validation": 2, "test": 2}
    assert table.loc["dog"].to_dict() == {"train": 9, "validation": 3, "test": 3}
    assert set(manifest["path"]) == set(CATS_AND_DOGS)
    assert rejected() == {}


def test_the_same_images_give_the_same_manifest_from_every_kind_of_source(project):
    files = dict(reversed(class_folders(käfer=10, dog=15).items()))  # an archive's order is its own
    found = set()
    for kind in KINDS:
        run_split(build(project / kind, files), max_rejected=0)
        found.add(
            tuple(
                Path(f"data/{name}.csv").read_bytes()
                for name in ("manifest/manifest", "split/duplicates", "split/hashes")
            )
        )
    assert len(found) == 1


def test_the_shipped_sample_is_split_exactly_as_asked_and_as_ever(project):
    sample = REPOSITORY / "data/sample/animals.zip"
    manifest = run_split(sample, train=542, validation=200, test=180)
    assert counts(manifest) == {"train": 542, "validation": 200, "test": 180}
    written = hashlib.sha256(Path("data/manifest/manifest.csv").read_bytes()).hexdigest()
    # published results rest on this split
    assert written == "9382d46e175024b536478104f93034069e7513c927e938e3e91dbef61ab9f78b"
    assert manifest.groupby("group")["split"].nunique().max() == 1
    assert pd.read_csv("data/split/duplicates.csv")["same_file_in_two_classes"].sum() == 18


def test_the_seed_decides(project):
    source = build(project / "set", CATS_AND_DOGS)
    first, again, other = (run_split(source, seed=seed) for seed in (3, 3, 4))
    assert first.equals(again)
    assert not first.equals(other)
    assert counts(first) == counts(other)


@pytest.mark.parametrize("root", ["", "train/"])
def test_added_deleted_and_renamed_images_move_few_others_if_checksums_draw(project, root):
    files = class_folders(root, cat=30, dog=30)
    before = run_split(build(project / "set", files), draw_by="checksum")
    kept = {path: content for path, content in files.items() if not path.endswith("/7.png")}
    renamed = {path.replace("cat/", "cat/new_"): content for path, content in kept.items()}
    added = {f"{root}cat/added{i}.png": encode(picture(1000 + i)) for i in range(3)}
    after = run_split(build(project / "other", renamed | added), draw_by="checksum")
    places = after.assign(path=after["path"].str.replace("cat/new_", "cat/")).merge(
        before, on="path", suffixes=("", "_before")
    )
    assert len(places) == 58
    assert (places["split"] != places["split_before"]).sum() <= 4
    assert len(set(after["split"])) == 3


def test_images_beyond_the_counts_are_listed_as_unused(project, capsys):
    manifest = run_split(build(project / "set", CATS_AND_DOGS), train=6, validation=4, test=4)
    assert counts(manifest) == {"train": 6, "validation": 4, "test": 4, "unused": 11}
    assert (
        "images in no split, since the counts ask for fewer than there are: 11"
        in capsys.readouterr().out
    )


@pytest.mark.parametrize("left_over", [1, 7])
def test_counts_are_exact_whatever_is_left_over(project, left_over):
    manifest = run_split(
        build(project / "set", CATS_AND_DOGS), train=15 - left_over, validation=5, test=5
    )
    assert counts(manifest) == {
        "train": 15 - left_over,
        "validation": 5,
        "test": 5,
        "unused": left_over,
    }


def test_a_one_image_split_gets_one_of_each_class_and_says_so(project, capsys):
    manifest = run_split(build(project / "set", CATS_AND_DOGS), train=23, validation=1, test=1)
    assert counts(manifest) == {"train": 21, "validation": 2, "test": 2}
    assert (
        "asked for 23, 1, 1, got 21, 2, 2: groups are never cut, every class is in every split"
        in capsys.readouterr().out
    )


def test_a_wrapping_folder_is_looked_through(project):
    manifest = run_split(
        build(
            project / "set.zip",
            {f"my set/{path}": content for path, content in CATS_AND_DOGS.items()},
        )
    )
    assert set(manifest["class_name"]) == {"cat", "dog"}


def test_class_names_that_trip_tables_are_kept(project, capsys):
    names = ["All", "NA", "001", 'a "b", c', "all classes"]
    manifest = run_split(build(project / "set", class_folders(**dict.fromkeys(names, 3))))
    assert sorted(set(manifest["class_name"])) == sorted(names)


def test_every_image_has_its_perceptual_hash_listed(project):
    manifest = run_split(build(project / "set", CATS_AND_DOGS), train=6, validation=4, test=4)
    hashes = pd.read_csv("data/split/hashes.csv")
    assert hashes["path"].tolist() == sorted(manifest["path"])
    opened = (Image.open(project / "set" / path) for path in hashes["path"])
    assert hashes["phash"].tolist() == [str(imagehash.phash(image)) for image in opened]


# Images that belong together


@pytest.mark.parametrize("seed", range(2))
def test_the_same_bytes_and_the_same_look_stay_on_one_side(project, seed):
    look = Image.fromarray(
        np.random.default_rng(99).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    ).resize((64, 64))
    files = CATS_AND_DOGS | {
        "cat/copy.png": CATS_AND_DOGS["cat/0.png"],
        "cat/look.png": encode(look),
        "cat/look.jpg": encode(look, "JPEG", quality=95),
        "cat/look.bmp": encode(look, "BMP"),
    }
    manifest = run_split(build(project / "set", files), seed=seed)
    assert len(sides(manifest, "cat/0.png", "cat/copy.png")) == 1
    assert len(sides(manifest, "cat/look.png", "cat/look.jpg", "cat/look.bmp")) == 1
    duplicates = pd.read_csv("data/split/duplicates.csv")
    assert sorted(duplicates["path"]) == [
        "cat/0.png",
        "cat/copy.png",
        "cat/look.bmp",
        "cat/look.jpg",
        "cat/look.png",
    ]
    assert not duplicates["same_file_in_two_classes"].any()


def test_the_same_file_in_two_classes_is_reported_and_stays_on_one_side(project, capsys):
    manifest = run_split(
        build(project / "set", CATS_AND_DOGS | {"dog/cat.png": CATS_AND_DOGS["cat/0.png"]})
    )
    assert len(sides(manifest, "cat/0.png", "dog/cat.png")) == 1
    assert pd.read_csv("data/split/duplicates.csv")["same_file_in_two_classes"].tolist() == [
        True,
        True,
    ]
    assert (
        "2 images are the same file in two classes, one label is wrong: cat/0.png, dog/cat.png"
        in capsys.readouterr().out
    )


PATIENTS = {
    f"{name}/p{patient}_{i}.png": encode(picture(100 * patient + i))
    for patient in range(12)
    for i, name in enumerate(["ill"] * 4 if patient % 2 else ["well"] * 4)
}


@pytest.mark.parametrize("pattern", [r"(p\d+)_", r"p\d+", r"/(?:x|(p\d+))_"])
def test_images_of_a_group_stay_on_one_side(project, pattern):
    manifest = run_split(build(project / "set", PATIENTS), group_by=pattern)
    patients = manifest["path"].str.extract(r"(p\d+)", expand=False)
    assert manifest.groupby(patients)["split"].nunique().max() == 1
    assert manifest["group"].nunique() == 12
    assert set(counts(manifest)) == {"train", "validation", "test"}


def test_paths_without_a_group_are_on_their_own_and_counted(project, capsys):
    manifest = run_split(build(project / "set", PATIENTS), group_by=r"(p1)_")
    assert manifest["group"].nunique() == len(PATIENTS) - 3
    assert (
        "split.group_by matches 4 of 48 paths; the others are on their own"
        in capsys.readouterr().out
    )


# No test images

NO_TEST = "no test images, since split.test is 0: the models are scored on the validation images"


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ({"train": 0.8, "validation": 0.2}, {"train": 20, "validation": 5}),
        ({"train": 80, "validation": 20}, {"train": 20, "validation": 5}),
        ({"train": 15, "validation": 5}, {"train": 15, "validation": 5, "unused": 5}),
    ],
    ids=["fractions", "percentages", "counts"],
)
def test_a_test_size_of_nothing_leaves_test_empty_and_is_said(project, capsys, sizes, expected):
    manifest = run_split(build(project / "set", CATS_AND_DOGS), **sizes, test=0)
    assert counts(manifest) == expected
    said = capsys.readouterr().out
    assert NO_TEST in said and any(NO_TEST in note for note in read_notes())
    assert "WARNING" not in said and "asked for" not in said


def test_no_group_is_too_large_for_the_other_splits_of_a_source_without_test(project):
    """Of six large groups and six images alone, none goes where nothing is wanted."""
    files = {
        f"{name}/p{i}_{k}.png": encode(picture(100 * i + 10 * k + (name == "dog")))
        for name in ("cat", "dog")
        for i in range(6)
        for k in range(9 if i < 3 else 1)
    }
    source = build(project / "set", files)
    for seed in range(5):
        manifest = run_split(
            source, train=0.5, validation=0.5, test=0, group_by="(p[0-9])_", seed=seed
        )
        assert set(counts(manifest)) == {"train", "validation"}


def test_two_images_of_a_class_are_enough_without_test(project):
    files = class_folders(cat=10, dog=2)
    manifest = run_split(build(project / "set", files), train=0.8, validation=0.2, test=0)
    dogs = manifest[manifest["class_name"] == "dog"]
    assert sorted(dogs["split"]) == ["train", "validation"]


# A source that is already split

ALREADY_SPLIT = class_folders("train/", cat=4, dog=4) | {
    f"{part}/{name}/{part}{i}.png": encode(picture(seed))
    for seed, (part, name, i) in enumerate(
        [(p, n, i) for p in ("val", "test") for n in ("cat", "dog") for i in range(2)], start=50
    )
}


@pytest.mark.parametrize("alias", ["validation", "val", "valid"])
@pytest.mark.parametrize("root", ["", "wrapped/"])
def test_a_source_that_is_already_split_stays_so(project, root, alias):
    files = {
        root + path.replace("val/", f"{alias}/"): content for path, content in ALREADY_SPLIT.items()
    }
    manifest = run_split(build(project / "set", files))
    assert counts(manifest) == {"train": 8, "validation": 4, "test": 4}
    folders = manifest["path"].str.removeprefix(root).str.split("/").str[0]
    assert (folders.replace(alias, "validation") == manifest["split"]).all()


def test_a_source_of_train_and_validation_stays_so_if_no_test_is_wanted(project, capsys):
    files = {path: content for path, content in ALREADY_SPLIT.items() if "test/" not in path}
    files["val/cat/leak.png"] = files["train/cat/0.png"]
    manifest = run_split(build(project / "set", files), train=0.8, validation=0.2, test=0)
    assert counts(manifest) == {"train": 8, "validation": 5}
    said = capsys.readouterr().out
    assert NO_TEST in said and "were drawn from train" not in said
    assert "lack classes" not in said
    assert "the source's own splits: 1; validation scores are flattered" in said


def test_a_source_with_test_images_keeps_them_though_none_are_drawn(project, capsys):
    files = {path: content for path, content in ALREADY_SPLIT.items() if "val/" not in path}
    manifest = run_split(build(project / "set", files), train=0.75, validation=0.25, test=0)
    assert counts(manifest) == {"train": 6, "validation": 2, "test": 4}
    said = capsys.readouterr().out
    assert "split.test is 0, but the source has test images of its own, which are used" in said
    assert "the source has no validation images: 2 were drawn from train" in said


def test_a_split_that_groups_leave_empty_is_refused(project):
    files = {
        f"train/{name}/p{name}_{i}.png": encode(picture(10 * i + (name == "dog")))
        for name in ("cat", "dog")
        for i in range(5)
    }
    files |= {path: content for path, content in ALREADY_SPLIT.items() if "test/" in path}
    words = refusal(
        build(project / "set", files), train=0.9, validation=0.1, test=0, group_by="(p[a-z]+)_"
    )
    assert words.startswith("no image could be drawn for validation: images that belong together")
    assert "train has 2 groups" in words


def test_duplicates_across_the_sources_own_splits_are_reported(project, capsys):
    run_split(
        build(
            project / "set", ALREADY_SPLIT | {"test/cat/leak.png": ALREADY_SPLIT["train/cat/0.png"]}
        )
    )
    assert (
        "groups of duplicates that lie across the source's own splits: 1;"
        in capsys.readouterr().out
    )


def test_a_class_missing_from_training_is_refused(project):
    files = {
        path: content for path, content in ALREADY_SPLIT.items() if not path.startswith("train/cat")
    }
    words = refusal(build(project / "set", files))
    assert words.startswith(
        "class 'cat' has none in train; the source is already split: add images there"
    )


def test_a_class_missing_from_another_split_of_the_source_is_named(project, capsys):
    run_split(
        build(
            project / "set",
            {
                path: content
                for path, content in ALREADY_SPLIT.items()
                if not path.startswith("test/cat")
            },
        )
    )
    assert (
        "WARNING: the source's own splits lack classes: 'cat' has no image in test; scores"
        in capsys.readouterr().out
    )
