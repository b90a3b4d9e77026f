"""`split` of data as people have it: what is recognised, scaled, tied and drawn, and what it
says of that."""

import json
import unicodedata
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageDraw

from stages import decode
from tests.helpers.split_stage import CATS_AND_DOGS, counts, refusal, rejected, run_split, sides
from tests.helpers.tiffs import tiff
from tests.helpers.tiny_sources import build, class_folders, encode, picture
from transfer.dataset.notes_file import read_notes
from transfer.runtime.errors import PipelineError

PETS = class_folders(cat=6, dog=6)


def notes() -> str:
    return "\n".join(read_notes())


# Splits of other names


@pytest.mark.parametrize(
    ("train", "other", "missing", "expected"),
    [
        ("Training", "Testing", "validation", {"train": 6, "validation": 2, "test": 8}),
        ("train_set/train_set", "test_set/test_set", "validation", None),
        ("train", "val", "test", {"train": 6, "validation": 8, "test": 2}),
    ],
)
def test_a_missing_split_is_drawn_from_train_and_said(
    project, capsys, train, other, missing, expected
):
    files = class_folders(f"{train}/", cat=4, dog=4) | {
        f"{other}/{name}/{i}.png": encode(picture(100 + i + 10 * (name == "dog")))
        for name in ("cat", "dog")
        for i in range(4)
    }
    manifest = run_split(build(project / "set", files))
    assert set(manifest["class_name"]) == {"cat", "dog"}
    assert counts(manifest) == (expected or {"train": 6, "validation": 2, "test": 8})
    drawn = manifest[manifest["split"] == missing]
    assert drawn["path"].str.startswith(train).all()
    assert sorted(drawn["class_name"]) == ["cat", "dog"]
    said = f"the source has no {missing} images: 2 were drawn from train"
    assert said in capsys.readouterr().out
    assert said in notes()


def test_drawing_follows_the_seed_and_keeps_groups(project):
    files = class_folders("train/", cat=20, dog=20) | class_folders("test/", cat=2, dog=2)
    files |= {f"train/cat/copy{i}.png": files["train/cat/0.png"] for i in range(3)}
    source = build(project / "set", files)
    first, again, other = (run_split(source, seed=seed) for seed in (1, 1, 2))
    assert first.equals(again)
    assert not first.equals(other)
    copies = [f"train/cat/copy{i}.png" for i in range(3)]
    assert len(sides(first, *copies)) == 1


def test_unlabelled_pictures_beside_train_are_left_out_and_counted(project):
    files = class_folders("train/", cat=5, dog=5)
    files |= {f"test/{i}.png": encode(picture(50 + i)) for i in range(30)}
    manifest = run_split(build(project / "set", files))
    assert manifest["path"].str.startswith("train/").all()
    assert counts(manifest) == {"train": 6, "validation": 2, "test": 2}
    assert "30 files, left out since nothing says their labels ('test')" in notes()
    assert rejected() == {}


def test_masks_beside_pictures_are_left_out_and_counted(project):
    masks = {f"{path[:-4]}_mask.png": encode(picture(900 + i)) for i, path in enumerate(PETS)}
    inner = {
        f"{name}/{kind}/{i}.png": encode(picture(i + 50 * j + 9 * (kind == "masks")))
        for j, name in enumerate(("cat", "dog"))
        for kind in ("images", "masks")
        for i in range(4)
    }
    manifest = run_split(build(project / "set", PETS | masks))
    assert not manifest["path"].str.contains("mask").any()
    assert "left out: 12 files, such as 'cat/0_mask.png'" in notes()
    manifest = run_split(build(project / "inner", inner))
    assert sorted(set(manifest["class_name"])) == ["cat", "dog"]
    assert not manifest["path"].str.contains("mask").any()
    assert "left out: 8 files, such as 'cat/masks/0.png'" in notes()


def test_one_folder_of_pictures_names_the_other_ways_to_label(project):
    words = refusal(
        build(project / "set", {f"images/{i}.png": encode(picture(i)) for i in range(5)})
    )
    assert "found only 'images'" in words
    assert "split.labels" in words
    assert "split.label_pattern" in words


# Ranges


def test_one_rule_scales_all_images_by_the_training_images(project):
    files = {
        f"{name}/{i}.tif": tiff(
            np.full((4, 4, 1), level, "u2") + np.eye(4, dtype="u2")[..., None], 16
        )
        for name in ("cat", "dog")
        for i, level in enumerate(range(100 if name == "cat" else 150, 3500, 300))
    }
    manifest = run_split(build(project / "set", files))
    rules = json.loads(Path("data/manifest/pixels.json").read_text())
    assert rules == {"ranges": {"unsigned": [0, 4095]}, "tiff_alpha": True}
    assert "0 is black and 4095 is white in every image, by the training images" in notes()
    decode.main()
    for split in ("train", "validation", "test"):
        rows = manifest[manifest["split"] == split].reset_index(drop=True)
        images = np.load(f"data/images/{split}/images.npy")
        for row, path in enumerate(rows["path"]):
            name, number = path.removesuffix(".tif").split("/")
            level = (100 if name == "cat" else 150) + 300 * int(number)
            assert abs(images[row].mean() - level / 4095 * 255) < 1


def test_images_that_the_rule_makes_nearly_black_are_named(project):
    levels = {"cat": 1.0, "dog": 255.0}
    files = {
        f"{name}/{i}.tif": tiff(np.random.default_rng(i).random((8, 8, 1), "f4") * most, 32)
        for name, most in levels.items()
        for i in range(6)
    }
    run_split(build(project / "set", files))
    assert "0 is black and 255 is white in every image" in notes()
    assert "nearly black by these ranges: 6 images, such as cat/0.tif; if they are" in notes()


def test_plain_images_have_no_rule(project):
    run_split(build(project / "set", CATS_AND_DOGS))
    assert json.loads(Path("data/manifest/pixels.json").read_text()) == {
        "ranges": {},
        "tiff_alpha": True,
    }
    assert notes() == ""


def test_infrared_called_alpha_is_left_out_of_all_images(project):
    rng = np.random.default_rng(0)
    files = {
        f"{name}/{i}.tif": tiff(
            np.concatenate(
                [rng.integers(0, 256, (6, 6, 3)), rng.integers(20, 200, (6, 6, 1))], -1
            ).astype("u1"),
            8,
            2,
            {338: (2,)},
        )
        for name in ("cat", "dog")
        for i in range(5)
    }
    run_split(build(project / "set", files))
    assert json.loads(Path("data/manifest/pixels.json").read_text())["tiff_alpha"] is False
    decode.main()
    assert np.load("data/images/train/images.npy").mean() < 150


def test_pictures_that_the_background_hides_name_the_parameter(project):
    files = {}
    for name in ("arrow", "circle"):
        for i in range(1, 7):
            icon = Image.new("RGBA", (32, 32), (255, 255, 255, 0))
            shape = (i, i, 31 - i, 31 - i)
            draw = ImageDraw.Draw(icon)
            (draw.ellipse if name == "circle" else draw.rectangle)(shape, fill="white")
            files[f"{name}/{i}.png"] = encode(icon)
    source = build(project / "set", files)
    assert (
        "blank: its visible pixels have the colour of the background, decode.background"
        in refusal(source)
    )
    run_split(source, decode={"background": "black"}, near_copies=False)
    assert "transparent parts: laid over decode.background: 12 images" in notes()


# Groups


def camera_frames() -> dict[str, bytes]:
    """40 frames of one scene, half of them with a defect of a few pixels, that look the same."""
    scene = np.asarray(picture(0, 12, 12).resize((64, 64), Image.Resampling.BICUBIC)).astype(float)
    files = {}
    for name in ("ok", "defect"):
        for i in range(20):
            noise = np.random.default_rng(i + 1000 * (name == "ok")).normal(0, 1, scene.shape)
            frame = np.clip(scene + noise, 0, 255).astype(np.uint8)
            if name == "defect":
                frame[10 + i : 12 + i, 20:23] = 0
            files[f"{name}/{i}.png"] = encode(Image.fromarray(frame))
    return files


def test_frames_of_a_fixed_camera_are_refused_with_the_switch_that_divides_them(project):
    files = camera_frames()
    source = build(project / "set", files | {"ok/copy.png": files["ok/0.png"]})
    words = refusal(source)
    assert "different looks; near-copies stay on one side" in words
    assert "set split.near_copies to false: then only identical files stay together" in words
    manifest = run_split(source, near_copies=False)
    assert len(sides(manifest, "ok/0.png", "ok/copy.png")) == 1
    assert manifest["group"].nunique() == 40


def test_near_copies_of_two_classes_are_not_tied_and_copies_are(project):
    look = picture(5, 4, 4).resize((64, 64))
    files = CATS_AND_DOGS | {
        "cat/look.png": encode(look),
        "dog/look.bmp": encode(look, "BMP"),
        "dog/same.png": CATS_AND_DOGS["cat/0.png"],
    }
    groups = run_split(build(project / "set", files)).set_index("path")["group"]
    assert groups["cat/look.png"] != groups["dog/look.bmp"]
    assert groups["cat/0.png"] == groups["dog/same.png"]
    assert "images that look like one in another class, which ties them to nothing: 2" in notes()


@pytest.mark.parametrize(("bits", "together"), [(0, False), (16, True)])
def test_the_distance_of_near_copies_is_a_parameter(project, bits, together):
    look = picture(5, 6, 6).resize((96, 96), Image.Resampling.BICUBIC)
    cropped = look.crop((1, 1, 96, 96))
    files = CATS_AND_DOGS | {"cat/a.png": encode(look), "cat/b.png": encode(cropped)}
    groups = run_split(build(project / "set", files), near_copy_bits=bits).set_index("path")[
        "group"
    ]
    hashes = pd.read_csv("data/split/hashes.csv", index_col="path")["phash"]
    assert hashes["cat/a.png"] != hashes["cat/b.png"]
    assert (groups["cat/a.png"] == groups["cat/b.png"]) == together


# Small classes, names, sizes


def test_rare_classes_are_left_out_where_a_parameter_says_so(project):
    source = build(project / "set", class_folders(cat=6, dog=6, rare=2, single=1))
    assert "set split.min_images to 3, which leaves out classes with fewer" in refusal(source)
    manifest = run_split(source, min_images=3)
    assert set(manifest["class_name"]) == {"cat", "dog"}
    assert "left out (split.min_images): 'rare' (2), 'single' (1)" in notes()
    with pytest.raises(PipelineError, match="0 of 4 classes have so many images, and two are"):
        run_split(source, min_images=7)


def test_classes_that_differ_by_case_are_asked_about(project):
    source = build(project / "set", class_folders(Cat=5, cat=5, dog=5))
    words = refusal(source)
    assert (
        "differ only by case, spaces or hyphens: 'Cat' and 'cat'; set split.merge_case to true"
        in words
    )
    assert set(run_split(source, merge_case=False)["class_name"]) == {"Cat", "cat", "dog"}
    manifest = run_split(source, merge_case=True)
    assert manifest["class_name"].value_counts().to_dict() == {"Cat": 10, "dog": 5}
    assert "are one: 'Cat' and 'cat'" in notes()


def test_two_unicode_forms_of_a_class_are_one_and_said(project):
    name, other = (unicodedata.normalize(form, "käfer") for form in ("NFC", "NFD"))
    files = class_folders(**{name: 4, other: 4, "dog": 4})
    manifest = run_split(build(project / "set", files))
    assert manifest["class_name"].value_counts().to_dict() == {name: 8, "dog": 4}
    assert f"differ only in their Unicode form are one class: {name}" in notes()


@pytest.mark.parametrize("sizes", [(60, 20, 20), (60.0, 20.0, 20.0)])
def test_percentages_are_accepted_and_said(project, capsys, sizes):
    train, validation, test = sizes
    source = build(project / "set", CATS_AND_DOGS)
    manifest = run_split(source, train=train, validation=validation, test=test)
    assert counts(manifest) == {"train": 15, "validation": 5, "test": 5}
    assert "add up to 100 and are read as percentages" in capsys.readouterr().out


def test_a_bare_source_in_a_temporary_experiment_says_what_to_do(project, monkeypatch):
    folder = project / ".dvc/tmp/exps/tmp1"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    words = refusal(Path("set"))
    assert "an experiment in a temporary folder, which has only what git and DVC track" in words


def test_folders_inside_class_folders_are_told(project):
    files = {
        f"{kind}/{name}/{i}.png": encode(picture(10 * n + i))
        for n, (kind, name) in enumerate(
            [("animal", "cat"), ("animal", "dog"), ("plant", "oak"), ("plant", "fern")]
        )
        for i in range(5)
    }
    run_split(build(project / "set", files))
    assert "which do not count: animal/cat, animal/dog, plant/fern, ... and 1 more" in notes()
    run_split(build(project / "other", CATS_AND_DOGS | {"cat/more/1.png": encode(picture(99))}))
    assert "which do not count" not in notes()
