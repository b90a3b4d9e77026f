"""What `use` says that `split` will do with a source, or stop at; and the tables that it finds."""

from pathlib import Path

import pytest

from tests.commands.test_use import IMAGES, PETS, TABLE, split_params
from tests.helpers.tiny_sources import build, class_folders, encode, picture
from transfer.__main__ import main


def test_what_split_would_stop_at_is_said(here, capsys):
    build(here / "set", class_folders(Cat=4, cat=4, rare=2))
    assert main(["use", "set", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "fewer images than splits in rare (2): `split` will stop" in said
    assert "'Cat', 'cat' differ by case, spaces or hyphens alone: `split` will stop until" in said


def test_more_images_than_there_are_is_said(here, capsys):
    build(here / "set", PETS)
    n = len(PETS)
    assert main(["use", "set", "--split", f"{n}/1/1", "--dry-run"]) == 0
    assert f"{n + 2} images in all, and there are {n}: `split` will stop" in capsys.readouterr().out
    assert main(["use", "set", "--split", f"{n - 2}/1/1", "--dry-run"]) == 0
    assert main(["use", "set", "--split", "60/20/20", "--dry-run"]) == 0
    assert "images in all" not in capsys.readouterr().out


def test_percentages_in_params_are_no_counts(here, capsys):
    text = Path("params.yaml").read_text()
    for name, before, share in (("train", 542, 60), ("validation", 200, 20), ("test", 180, 20)):
        assert f"\n  {name}: {before}" in text
        text = text.replace(f"\n  {name}: {before}", f"\n  {name}: {share}", 1)
    Path("params.yaml").write_text(text)
    build(here / "set", PETS)
    assert main(["use", "set", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "train 60 %, validation 20 %, test 20 %" in said and "images in all" not in said


def test_more_bad_files_than_split_allows_are_said_with_the_line_to_change(here, capsys):
    build(here / "pets", PETS | {f"cat/bad{i}.png": b"x" for i in range(21)})
    assert main(["use", "pets", "--dry-run"]) == 0
    assert (
        "rejected   21 or more, and split.max_rejected is 20: `split` will stop; repair or remove "
        "these files, or write max_rejected: 21 under split: in params.yaml"
    ) in capsys.readouterr().out
    (here / "pets/cat/bad0.png").unlink()
    main(["use", "pets", "--dry-run"])
    assert "rejected" not in capsys.readouterr().out


def test_rows_without_files_count_as_rejected(here, capsys):
    rows = TABLE + "".join(f"no{i},x,c\n" for i in range(25))
    build(here / "set", IMAGES | {"labels.csv": rows.encode()})
    assert main(["use", "set", "--labels", "set/labels.csv", "--dry-run"]) == 0
    assert "rejected   25 or more" in capsys.readouterr().out


def test_classes_that_a_split_lacks_are_said(here, capsys):
    splits = class_folders("train/", cat=3, dog=3, bird=3) | class_folders("test/", cat=1, owl=1)
    build(here / "set", splits)
    (here / "set/train/fox").mkdir()
    assert main(["use", "set", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "no image in train: 'owl'; `split` will stop: add images there, or remove the" in said
    assert "no image in test: 'bird', 'dog'; scores that need them will say so" in said
    assert "no image is in the class folders 'fox': `split` will stop; add images or" in said
    assert "fewer images than splits" not in said


def test_a_table_without_train_is_said(here, capsys):
    rows = "".join(f"{i},{'cd'[i % 2]},{'val' if i < 3 else 'test'}\n" for i in range(6))
    build(here / "set", IMAGES | {"labels.csv": f"id,label,split\n{rows}".encode()})
    assert main(["use", "set", "--dry-run"]) == 0
    assert "no image is in train, only in test, validation: `split` will stop" in (
        capsys.readouterr().out
    )


def test_masks_beside_pictures_are_told(here, capsys):
    build(here / "set", PETS | {f"{path[:-4]}_mask.png": PETS[path] for path in PETS})
    assert main(["use", "set", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "9 masks of pictures beside them are left out: cat/0_mask.png" in said
    assert "classes    2: cat 4, dog 5" in said


def test_names_of_numbered_classes_are_found_in_the_source_and_kept(here, capsys):
    names = b'{"0": "daisy", "1": "rose"}'
    build(here / "set", class_folders(**{"0": 3, "1": 4}) | {"class_indices.json": names})
    assert main(["use", "set"]) == 0
    assert split_params()["class_names"] == "class_indices.json"
    said = capsys.readouterr().out
    assert "classes named by class_indices.json: '0' is 'daisy', '1' is 'rose'" in said
    assert "classes    2: daisy 3, rose 4" in said
    text = Path("params.yaml").read_text(encoding="utf-8")
    Path("params.yaml").write_text(
        text.replace("class_names: class_indices.json", "class_names: null"), encoding="utf-8"
    )
    assert main(["use", "set"]) == 0
    assert split_params()["class_names"] is None
    build(here / "pets", PETS | {"classes.txt": b"x\ny\n"})
    assert main(["use", "pets"]) == 0
    assert split_params()["class_names"] is None


def test_a_hidden_class_is_told(here, capsys):
    build(here / "pets", PETS | {".net/1.png": encode(picture(99)), "cat/.DS_Store": b"x"})
    assert main(["use", "pets"]) == 0
    said = capsys.readouterr().out
    assert "clutter    passed over: 2" in said
    assert "hidden: .net; rename a class called so" in said


@pytest.mark.parametrize("kind", ["set.zip", "set.tar.gz"])
def test_a_table_in_an_archive_is_read(here, capsys, kind):
    build(
        here / kind,
        {f"set/{path}": content for path, content in IMAGES.items()}
        | {
            "set/README.txt": b"x",
            "set/labels.csv": TABLE.encode(),
            "set/bbox.csv": b"id,x\n0,0\n",
        },
    )
    assert main(["use", kind]) == 0
    assert split_params()["labels"] == kind
    said = capsys.readouterr().out
    assert f"labels from {kind}/set/labels.csv (CSV with commas, 6 rows)" in said
    assert "classes    2: c 3, d 3" in said
    assert main(["use", kind, "--dry-run"]) == 0
    assert "nothing, since it says all this" in capsys.readouterr().out


def test_tables_of_splits_in_an_archive_are_one(here, capsys):
    header, *rows = TABLE.splitlines()
    tables = {
        f"meta/{name}.csv": "\n".join([header, *own]).encode()
        for name, own in (("train", rows[:4]), ("test", rows[4:]))
    }
    build(here / "set.zip", IMAGES | tables)
    assert main(["use", "set.zip"]) == 0
    said = capsys.readouterr().out
    assert "labels from set.zip/meta (test.csv, train.csv, CSV with commas, 6 rows)" in said
    assert "split      as the source has it" in said


def test_why_no_table_in_an_archive_serves_is_said(here, capsys):
    build(here / "set.zip", IMAGES | {"labels.csv": b"id,label\n77,cat\n78,dog\n"})
    assert main(["use", "set.zip"]) == 1
    assert "split.labels = 'set.zip/labels.csv': no row names a file" in capsys.readouterr().err
    build(here / "bare.zip", IMAGES)
    assert main(["use", "bare.zip", "--labels", "bare.zip"]) == 1
    assert "is the archive of the images, and no table lies in it" in capsys.readouterr().err


def test_matlabs_labels_are_refused_by_name(here, capsys):
    build(here / "set", IMAGES | {"setid.mat": b"MATLAB", "imagelabels.mat": b"MATLAB"})
    assert main(["use", "set"]) == 1
    assert "imagelabels.mat may have the labels, in MATLAB's form" in capsys.readouterr().err


def test_a_table_goes_before_folders_that_are_parts_of_one_set(here, capsys):
    files = {f"part_{i // 4}/{i}.png": encode(picture(i)) for i in range(8)}
    rows = "".join(f"{i},{('mel', 'nv')[i % 2]}\n" for i in range(8))
    build(here / "set", files | {"metadata_x.csv": f"image_id,dx\n{rows}".encode()})
    assert main(["use", "set"]) == 0
    assert "classes    2: mel 4, nv 4" in capsys.readouterr().out
    assert split_params()["labels"] == "set/metadata_x.csv"


def test_tables_named_after_splits_are_taken_together(here, capsys):
    files = {f"images/{i}.png": encode(picture(i)) for i in range(12)}
    lists = {
        f"{split}.txt": "".join(f"images/{i}.png {i % 2}\n" for i in numbers).encode()
        for split, numbers in (("train", range(6)), ("val", range(6, 9)), ("test", range(9, 12)))
    }
    build(here / "set", files | lists)
    assert main(["use", "set"]) == 0
    said = capsys.readouterr().out
    assert "labels from set (test.txt, train.txt, val.txt, list of paths and labels" in said
    assert "split      as the source has it" in said


def test_links_out_of_the_folder_are_read_if_asked(here, capsys):
    for path in build(here.parent / "cache", PETS).rglob("*.png"):
        link = here / "set" / path.relative_to(here.parent / "cache")
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path)
    assert main(["use", "set"]) == 1
    assert "a link that leaves the folder" in capsys.readouterr().err
    assert main(["use", "set", "--follow-links"]) == 0
    assert split_params()["follow_links"] is True


def test_what_is_left_out_is_said(here, capsys):
    files = {f"train/{path}": content for path, content in PETS.items()}
    files |= {f"val/{path}": encode(picture(50 + i)) for i, path in enumerate(PETS)}
    files |= {"unlabelled/1.png": encode(picture(99)), "val/.DS_Store": b"x"}
    build(here / "set", files)
    assert main(["use", "set", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "already split into train (9), validation (9)" in said
    assert "test will be drawn from train" in said
    assert "1 image without a label is left out: unlabelled/1.png" in said
    assert "clutter    passed over: 1, such as val/.DS_Store" in said


def test_a_split_of_nothing_comes_with_the_option_to_change(here, capsys):
    build(here / "pets", PETS)
    assert main(["use", "pets", "--split", "80/0/20"]) == 1
    said = capsys.readouterr().err
    assert "split.validation: the validation images choose each network's epoch, so some" in said
    assert "Only test may be 0; here --split 80/10/10 say" in said


NO_TEST = "no test images, since split.test is 0: the models are scored on the validation images"


def test_no_test_images_are_allowed_and_their_price_is_said(here, capsys):
    build(here / "pets", class_folders(cat=4, dog=2))
    assert main(["use", "pets", "--split", "80/20/0"]) == 0
    said = capsys.readouterr().out
    assert "train 80 %, validation 20 %\n" in said and NO_TEST in said
    assert "fewer images than splits" not in said
    assert (split_params()["train"], split_params()["test"]) == (0.8, 0)
    assert main(["use", "pets", "--split", "4/2/0", "--dry-run"]) == 0
    assert "train 4 images, validation 2 images\n" in capsys.readouterr().out


def test_a_split_is_only_drawn_from_train_if_it_is_wanted(here, capsys):
    files = class_folders("train/", cat=3, dog=3) | class_folders("val/", cat=1, dog=1)
    build(here / "set", files)
    assert main(["use", "set", "--split", "80/20/0", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "drawn from train" not in said and NO_TEST in said
    build(here / "set", class_folders("test/", cat=1, dog=1))
    assert main(["use", "set", "--split", "80/20/0", "--dry-run"]) == 0
    assert "the source has test images of its own, which are used" in capsys.readouterr().out


def test_no_pattern_is_given_for_folders_that_are_to_be_moved(here, capsys):
    names = {f"{path.replace('/', f'/{path[:3]}_')}": PETS[path] for path in PETS}
    build(here / "set", names | {f"old/{path}": PETS["cat/0.png"] for path in names})
    assert main(["use", "set"]) == 1
    said = capsys.readouterr().err
    assert "move it out of the source" in said
    assert "--label-pattern" not in said


def test_a_path_with_spaces_and_no_quotes_is_explained(here, capsys):
    with pytest.raises(SystemExit):
        main(["use", "my", "holiday", "photos", "--dry-run"])
    assert "if it has spaces, write it in quotes: 'my holiday photos'" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["use", "photos", "--nothing"])
    assert "unrecognized arguments: --nothing" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["set.zip", "set.tar"])
def test_an_archive_of_absolute_paths_comes_with_the_command_that_packs_it(here, capsys, kind):
    build(here / kind, {f"/home/me/{path}": content for path, content in PETS.items()})
    assert main(["use", kind]) == 1
    said = capsys.readouterr().err
    assert (
        "/home/me/cat/0.png: the path climbs out of the source. Pack it again from inside" in said
    )
