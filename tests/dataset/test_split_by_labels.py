"""`split` with labels from a table or from a pattern."""

import re
from pathlib import Path

from tests.helpers.split_stage import counts, refusal, rejected, run_split, sides
from tests.helpers.tiny_sources import build, encode, picture

FILES = {f"images/{i}.png": encode(picture(i)) for i in range(20)}


def table(path: Path, columns: str, rows: list[str]) -> str:
    path.write_text("\n".join([columns, *rows, ""]))
    return str(path)


def test_a_table_beside_the_images_labels_them(project, capsys):
    labels = table(
        project / "train.csv", "id,label", [f"{i},{('cat', 'dog')[i % 2]}" for i in range(16)]
    )
    source = build(project / "set", FILES)
    manifest = run_split(source, labels=labels)
    assert {f"images/{i}.png" for i in range(16)} == set(manifest["path"])
    assert counts(manifest) == {"train": 10, "validation": 3, "test": 3}
    assert manifest["class_name"].value_counts().to_dict() == {"cat": 8, "dog": 8}
    assert "split: 4 images have no label in the table and are left out" in capsys.readouterr().out


def test_groups_and_splits_of_the_table_are_kept(project):
    source = build(project / "set", FILES)
    labels = table(
        project / "labels.tsv",
        "path\tlabel\tpatient",
        [f"images/{i}.png\t{'ab'[i % 2]}\tp{i // 4}" for i in range(20)],
    )
    manifest = run_split(source, labels=labels)
    for patient in range(5):
        own = [f"images/{i}.png" for i in range(4 * patient, 4 * patient + 4)]
        assert len(sides(manifest, *own)) == 1
    splits = ["train"] * 12 + ["validation"] * 4 + ["test"] * 4
    labels = table(
        project / "splits.csv",
        "path,label,split",
        [f"images/{i}.png,{'ab'[i % 2]},{split}" for i, split in enumerate(splits)],
    )
    manifest = run_split(source, labels=labels)
    assert counts(manifest) == {"train": 12, "validation": 4, "test": 4}
    assert sides(manifest, *(f"images/{i}.png" for i in range(12))) == {"train"}


def test_the_table_of_the_docs_keeps_the_split_when_images_are_added_and_deleted(project):
    files = {f"{'ab'[i % 2]}/{i}.png": encode(picture(i)) for i in range(30)}
    before = run_split(build(project / "set", files))
    docs = (Path(__file__).parents[2] / "docs/your-data.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"```python\n([^`]*splits\.csv[^`]*)```", docs)
    exec(program, {})
    with Path("splits.csv").open("a") as table:
        table.write("a/new.png,a,test\n")
    (project / "set/a/0.png").unlink()
    build(project / "set", {"a/new.png": files["b/1.png"], "a/without.png": files["b/1.png"]})
    after = run_split(project / "set", labels="splits.csv", max_rejected=1)
    kept = before.set_index("path")["split"].drop("a/0.png").to_dict()
    assert after.set_index("path")["split"].to_dict() == kept | {"a/new.png": "test"}


def test_an_archive_and_a_folder_give_the_same_rows(project):
    labels = table(
        project / "train.csv", "id,label", [f"{i},{('cat', 'dog')[i % 2]}" for i in range(20)]
    )
    folder = run_split(build(project / "set", FILES), labels=labels)
    assert folder.equals(run_split(build(project / "set.zip", FILES), labels=labels))


def test_rows_without_files_count_as_rejected(project):
    source = build(project / "set", FILES | {"images/17.png": b"no image"})
    labels = table(
        project / "labels.csv", "id,label", [f"{i},{('cat', 'dog')[i % 2]}" for i in range(22)]
    )
    assert "3 files cannot be used, more than split.max_rejected = 0" in refusal(
        source, labels=labels
    )
    run_split(source, labels=labels, max_rejected=3)
    assert set(rejected()) == {"20", "21", "images/17.png"}
    assert rejected()["20"] == "the table names it, and the source does not have it"


def test_a_class_without_a_usable_image_is_refused(project):
    source = build(project / "set", FILES | {"images/19.png": b"no image"})
    labels = table(
        project / "labels.csv",
        "id,label",
        [f"{i},{'bird' if i == 19 else ('cat', 'dog')[i % 2]}" for i in range(20)],
    )
    assert "no usable image in class" in refusal(source, labels=labels, max_rejected=1)


def test_labels_in_file_names(project, capsys):
    files = {
        f"train/{('cat', 'dog')[i % 2]}.{i}.png": content
        for i, content in enumerate(FILES.values())
    } | {"test1/1.png": encode(picture(99)), "readme.txt": b"x"}
    manifest = run_split(
        build(project / "set", files), label_pattern=r"^train/(?P<label>[a-z]+)\.\d+"
    )
    assert manifest["class_name"].value_counts().to_dict() == {"cat": 10, "dog": 10}
    assert rejected() == {}
    assert "1 image does not match it and is left out: test1/1.png" in capsys.readouterr().out


def test_a_pattern_without_a_label_is_refused_with_its_parameter(project):
    assert "params.yaml: split.label_pattern = '.*': no group is named label" in refusal(
        project, label_pattern=".*"
    )


def test_weights_of_the_table_are_in_the_manifest(project):
    source = build(project / "set", FILES)
    labels = table(
        project / "labels.csv",
        "id,label,value",
        [f"{i},{'ab'[i % 2]},{'' if i == 7 else f'{i / 4}'}" for i in range(20)],
    )
    columns = {"path": None, "label": None, "split": None, "group": None, "weight": "value"}
    manifest = run_split(source, labels=labels, columns=columns)
    weights = manifest.set_index("path")["weight"]
    assert weights["images/10.png"] == 2.5
    assert weights["images/7.png"] == 1
    assert "weight" not in run_split(source, labels=labels, columns=columns | {"weight": None})
