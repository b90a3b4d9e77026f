"""Labels by a table or a pattern: columns, the files that rows name, and problems of rows."""

import json
import unicodedata
from pathlib import Path

import pytest

from transfer.labels.find_labels import NO_TABLE, find_path_labels
from transfer.labels.labels_by_pattern import compile_pattern, label_by_pattern
from transfer.labels.path_label import LabelColumns, PathLabel, PathLabels
from transfer.runtime.errors import PipelineError

GUESSED = dict.fromkeys(LabelColumns.model_fields)


def find(
    folder: Path,
    text: str,
    images: list[str],
    others: list[str] = (),
    name: str = "labels.csv",
    **columns,
) -> PathLabels:
    """The labels of a table beside the source `folder`/set."""
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")
    return find_path_labels(
        images,
        others,
        str(folder / "set"),
        str(folder / name),
        LabelColumns(**GUESSED | columns),
        None,
    )


def refused(*words, **columns) -> str:
    with pytest.raises(PipelineError) as error:
        find(*words, **columns)
    return str(error.value)


def classes(found: PathLabels) -> dict[str, str]:
    return {path: label.class_name for path, label in found.labels.items()}


KINDS = {  # the table's text, its name, the images, how rows find them
    "Hugging Face": (
        "file_name,label\n0001.png,cat\n0002.png,dog\n",
        "set/metadata.csv",
        ["0001.png", "0002.png"],
        "by their paths in the source",
    ),
    "Hugging Face, JSON lines in a folder": (
        '{"file_name": "0001.png", "text": "x", "label": "cat"}\n'
        '{"file_name": "0002.png", "text": "y", "label": "dog"}\n',
        "set/images/metadata.jsonl",
        ["images/0001.png", "images/0002.png"],
        "by their paths from the table's folder",
    ),
    "LightlyTrain": (
        "image_path,label\nimages/a.jpg,cat\nimages/b.jpg,dog\n",
        "labels.csv",
        ["images/a.jpg", "images/b.jpg"],
        "by their paths in the source",
    ),
    "Vertex AI": (
        "gs://bucket/pets/images/a.jpg,cat\ngs://bucket/pets/images/b.jpg,dog\n",
        "import.csv",
        ["images/a.jpg", "images/b.jpg"],
        "by the ends of their paths",
    ),
    "Label Studio, CSV": (
        "annotation_id,annotator,choice,created_at,id,image,lead_time,updated_at\n"
        "1,1,cat,2024-01-01,1,/data/upload/1/0a1b2c3d-a.jpg,2.1,2024-01-01\n"
        "2,1,dog,2024-01-01,2,/data/upload/1/ffffffff-b%201.jpg,2.1,2024-01-01\n",
        "project-1.csv",
        ["x/a.jpg", "x/b 1.jpg"],
        "by their names without Label Studio's prefixes",
    ),
    "Label Studio, JSON-MIN of local files": (
        json.dumps(
            [
                {"id": 1, "image": "/data/local-files/?d=x%2Fa.jpg", "choice": "cat"},
                {"id": 2, "image": "/data/local-files/?d=x%2Fb.jpg", "choice": "dog"},
            ]
        ),
        "project-1.json",
        ["x/a.jpg", "x/b.jpg"],
        "by their paths in the source",
    ),
    "Kaggle": (
        "id,label\n1,cat\n2,dog\n",
        "set/train.csv",
        ["images/1.jpg", "images/2.jpg"],
        "by their paths without suffixes",
    ),
    "paths of another machine": (
        "path;label\nC:\\Users\\x\\set\\p\\a.jpg;cat\nC:\\Users\\x\\set\\p\\b.jpg;dog\n",
        "labels.csv",
        ["p/a.jpg", "p/b.jpg"],
        "by the ends of their paths",
    ),
    "names as in addresses": (
        "file,ClassId\nmy%20photo.jpg,cat\nk%C3%A4fer.jpg,dog\n",
        "labels.csv",
        ["p/my photo.jpg", "p/käfer.jpg"],
        "by their names, %20 and the like being read",
    ),
    "other names of the columns": (
        "Bild,Art\nA.JPG,cat\nB.JPG,dog\n",
        "labels.csv",
        ["a.jpg", "b.jpg"],
        "by their paths in the source, upper and lower case being equal",
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_tables_as_people_have_them(tmp_path, kind):
    text, name, images, how = KINDS[kind]
    found = find(tmp_path, text, images, name=name)
    assert classes(found) == dict(zip(images, ["cat", "dog"], strict=True))
    assert not found.is_split
    assert f"2 images are found {how}" in found.remarks
    assert "(guessed)" in found.remarks[0]


def test_names_in_another_unicode_form_are_found(tmp_path):
    image = unicodedata.normalize("NFD", "käfer/é.jpg")
    text = unicodedata.normalize("NFC", "path,label\nkäfer/é.jpg,1\nb.jpg,2\n")
    assert classes(find(tmp_path, text, [image, "b.jpg"])) == {image: "1", "b.jpg": "2"}


def test_an_image_goes_before_what_lies_beside_it(tmp_path):
    found = find(tmp_path, "id,label\n1,a\n2,b\n", ["1.jpg", "2.jpg"], ["1.json", "2.json"])
    assert classes(found) == {"1.jpg": "a", "2.jpg": "b"}


def test_a_row_may_name_a_file_that_cannot_be_read(tmp_path):
    found = find(tmp_path, "id,label\n1,a\n2,b\n3,b\n", ["1.jpg", "2.jpg"], ["3.jpg"])
    assert classes(found)["3.jpg"] == "b"


def test_columns_that_are_given_are_used_and_not_called_guessed(tmp_path):
    text = "name,label,species,site\na.jpg,x,cat,1\nb.jpg,x,dog,2\n"
    found = find(tmp_path, text, ["a.jpg", "b.jpg"], path="name", label="species", group="site")
    assert found.labels == {
        "a.jpg": PathLabel("cat", None, "1"),
        "b.jpg": PathLabel("dog", None, "2"),
    }
    assert "guessed" not in found.remarks[0].replace("split", "")


def test_splits_and_groups_of_the_table(tmp_path):
    text = "file,class,set,patient id\na.jpg,x,Training,p1\nb.jpg,y,val,p2\nc.jpg,x,TEST,\n"
    found = find(tmp_path, text, ["a.jpg", "b.jpg", "c.jpg"])
    assert found.labels == {
        "a.jpg": PathLabel("x", "train", "p1"),
        "b.jpg": PathLabel("y", "validation", "p2"),
        "c.jpg": PathLabel("x", "test", None),
    }
    assert found.is_split
    assert found.columns == {
        "path": "file",
        "label": "class",
        "split": "set",
        "group": "patient id",
    }


def test_folders_of_splits_are_the_splits_where_the_table_has_none(tmp_path):
    images = ["train/1.jpg", "val/2.jpg", "test/3.jpg"]
    text = "file_name,label\ntrain/1.jpg,a\nval/2.jpg,b\ntest/3.jpg,a\n"
    found = find(tmp_path, text, images)
    assert [found.labels[path].split for path in images] == ["train", "validation", "test"]
    only_train = find(
        tmp_path, "id,label\n1,a\n2,b\n", ["train/1.jpg", "train/2.jpg", "test/9.jpg"]
    )
    assert not only_train.is_split


def test_a_guessed_split_column_without_splits_is_not_used(tmp_path):
    found = find(tmp_path, "path,label,set\na.jpg,x,night\nb.jpg,y,day\n", ["a.jpg", "b.jpg"])
    assert not found.is_split
    assert "column 'set' has no names of splits and is not used" in found.remarks


def test_what_is_odd_about_rows_is_counted_and_named(tmp_path):
    text = (
        "path,label,weight\na.jpg,cat,1\na.jpg,cat,1\nb.jpg, Ka\u0308fer,1\nc.jpg,K\u00e4fer ,1\n"
        "d.jpg,,1\ngone.jpg,cat,1\nlost.jpg,cat,1\n"
    )
    found = find(tmp_path, text, ["a.jpg", "b.jpg", "c.jpg", "d.jpg", "e.jpg"])
    assert classes(found) == {"a.jpg": "cat", "b.jpg": "K\u00e4fer", "c.jpg": "K\u00e4fer"}
    assert found.missing == ["gone.jpg", "lost.jpg"]
    assert found.remarks[2:] == [
        "2 rows name no file of the source: gone.jpg, lost.jpg",
        "1 row has no label and is left out: d.jpg (line 6)",
        "2 images have no label in the table and are left out: d.jpg, e.jpg",
        "1 row repeats an earlier one: a.jpg (line 3)",
        "labels that differ by spaces or Unicode form alone are one: 'Ka\u0308fer' (1), "
        "'K\u00e4fer' (1)",
        "column 'weight' is not used; if it says how much each image counts in training, name it "
        "in split.columns.weight",
    ]


@pytest.mark.parametrize(
    "text, message",
    [
        ("path,label\nx.jpg,cat\ny.jpg,dog\n", "no row names a file of the source"),
        ("path,label,predicted\na.jpg,,cat\nb.jpg,,dog\n", "no row has a label in column 'label'"),
        ("path,label\na.jpg,cat\nb.jpg,dog\na.jpg,dog\n", "'cat' and 'dog' (lines 2 and 4)"),
        ("path,label,split\na.jpg,x,train\na.jpg,x,test\n", "'train' and 'test'"),
        ("path,label\na.jpg,cat\nb.jpg,cat\n", "every row that names an image has the label 'cat'"),
        (
            "path,x,y1\na.jpg,1,2\nb.jpg,2,3\n",
            "which column is the label? Beside the path in 'path'",
        ),
        ("path,label,split\na.jpg,x,train\nb.jpg,y,\n", "1 of 2 rows have no split"),
        (
            'path,label\na.jpg,"[""x"", ""y""]"\nb.jpg,x\n',
            'line 2: \'["x", "y"]\' is more than one',
        ),
        ('path,choice\na.jpg,"{""choices"": [""x"", ""y""]}"\nb.jpg,x\n', "is more than one label"),
        ("path;label\na.jpg;x|y\nb.jpg;x\n", "'x|y' is several labels, divided by '|' (1 rows"),
        ('path,label\na.jpg,"x, y"\nb.jpg,"y, z"\n', "'x, y' is several labels, divided by ','"),
        ("path,u,v\na.jpg,1,0\nb.jpg,1,1\n", "line 3: 1 stands in several columns, u, v"),
        (
            "path,class,xmin\na.jpg,cat,1\nb.jpg,dog,3\na.jpg,dog,4\n",
            "Its columns are those of boxes, as data for detection has",
        ),
    ],
)
def test_rows_that_would_be_nonsense_are_refused(tmp_path, text, message):
    assert message in refused(tmp_path, text, ["a.jpg", "b.jpg"])


def test_labels_that_differ_by_case_are_named(tmp_path):
    found = find(tmp_path, "path,label\na.jpg,Cat\nb.jpg,cat\n", ["a.jpg", "b.jpg"])
    assert classes(found) == {"a.jpg": "Cat", "b.jpg": "cat"}
    assert (
        "labels that differ by upper and lower case alone: 'Cat' (1), 'cat' (1); split.merge_case "
        "says whether they are one" in found.remarks
    )


def test_a_row_that_may_mean_two_files_is_refused(tmp_path):
    message = refused(tmp_path, "id,label\n1,a\n2,b\n", ["x/1.jpg", "y/1.jpg", "x/2.jpg"])
    assert "'1' (line 2) is 'x/1.jpg' or 'y/1.jpg'; give their paths in the source" in message


def test_columns_that_are_not_there_are_refused(tmp_path):
    text = "path,label\na.jpg,x\nb.jpg,y\n"
    images = ["a.jpg", "b.jpg"]
    for kind in LabelColumns.model_fields:
        message = refused(tmp_path, text, images, **{kind: "nope"})
        assert f"split.columns.{kind} = 'nope', but the columns" in message
    assert "line 2: the weight 'x' is no number" in refused(tmp_path, text, images, weight="label")
    assert "is no split" in refused(tmp_path, text, images, split="label")


def test_without_a_table_folders_have_the_labels():
    columns = LabelColumns(**GUESSED)
    assert find_path_labels(["a.jpg"], [], "set", NO_TABLE, columns, None) is None
    with pytest.raises(PipelineError, match="both give labels"):
        find_path_labels([], [], "set", "labels.csv", columns, "(?P<label>x)")
    with pytest.raises(PipelineError, match="names no table"):
        find_path_labels([], [], "set", NO_TABLE, LabelColumns(**GUESSED | {"label": "x"}), None)


def test_labels_by_a_pattern():
    images = ["train/cat.0.jpg", "train/dog.1.jpg", "test/cat.2.jpg", "test1/3.jpg"]
    found = label_by_pattern(images, r"^(?P<split>train|test)\d*/(?P<label>[a-z]+)\.(?P<group>\d+)")
    assert found.labels == {
        "train/cat.0.jpg": PathLabel("cat", "train", "0"),
        "train/dog.1.jpg": PathLabel("dog", "train", "1"),
        "test/cat.2.jpg": PathLabel("cat", "test", "2"),
    }
    assert found.is_split
    assert found.remarks == [
        "labels by split.label_pattern: 3 of 4 images match",
        "1 image does not match it and is left out: test1/3.jpg",
    ]


def test_a_pattern_that_gives_some_images_a_split_and_others_none_is_refused():
    images = ["train/cat.0.jpg", "test/dog.1.jpg", "cat.2.jpg"]
    with pytest.raises(PipelineError, match=r"1 of 3 images have no split, .* 'cat\.2\.jpg'"):
        label_by_pattern(images, r"(?:(?P<split>train|test)/)?(?P<label>[a-z]+)\.\d+\.jpg$")


def test_patterns_that_give_no_label_are_refused():
    with pytest.raises(PipelineError, match="matches no path of the 1 images"):
        label_by_pattern(["a.jpg"], r"(?P<label>\d+)")
    for pattern, message in [
        ("(", "not a regular expression"),
        (r"(\d+)", "no group is named label"),
        (r"(?P<label>\d+)(?P<class_>x)", "a group is named 'class_'"),
    ]:
        with pytest.raises(ValueError, match=message):
            compile_pattern(pattern)


def test_folders_of_a_row_are_not_passed_over_where_they_tell_files_apart(tmp_path):
    images = ["set/x/1.jpg", "set/y/1.jpg"]
    found = find(tmp_path, "path,label\nx/1.jpg,a\ny/1.jpg,b\n", images)
    assert classes(found) == {"set/x/1.jpg": "a", "set/y/1.jpg": "b"}
    moved = find(tmp_path, "path,label\nold/1.jpg,a\nold/2.jpg,b\n", ["new/1.jpg", "new/2.jpg"])
    assert "2 images are found by their names, whatever their folders" in moved.remarks


def test_a_column_for_each_class_is_read_as_one_label(tmp_path):
    text = "image,MEL,NV,BCC\na,1.0,0.0,0.0\nb,0.0,1.0,0.0\nc,0.0,0.0,0.0\n"
    found = find(tmp_path, text, ["a.jpg", "b.jpg", "c.jpg"])
    assert classes(found) == {"a.jpg": "MEL", "b.jpg": "NV"}
    assert "label in column 'MEL, NV, BCC (columns of 0 and 1)' (guessed)" in found.remarks[0]
    assert "1 row has no label and is left out: c (line 4)" in found.remarks


def test_a_label_column_goes_before_columns_of_0_and_1(tmp_path):
    text = "image,label,male,smoker\na,cat,1,1\nb,dog,0,1\n"
    assert classes(find(tmp_path, text, ["a.jpg", "b.jpg"])) == {"a.jpg": "cat", "b.jpg": "dog"}


def test_names_that_hold_a_divider_are_one_label_if_their_parts_are_no_labels(tmp_path):
    text = 'path,label\na.jpg,"Cars, trucks"\nb.jpg,"Boats; ships"\nc.jpg,A|B\n'
    found = find(tmp_path, text, ["a.jpg", "b.jpg", "c.jpg"])
    assert {*classes(found).values()} == {"Cars, trucks", "Boats; ships", "A|B"}


def test_tags_between_spaces_are_remarked_on(tmp_path):
    text = "path,tags\na.jpg,haze primary\nb.jpg,clear primary\nc.jpg,clear water primary\n"
    found = find(tmp_path, text, ["a.jpg", "b.jpg", "c.jpg"])
    assert any("may have several labels in a cell" in remark for remark in found.remarks)
    text = "path,labels\na.jpg,red panda\nb.jpg,polar bear\nc.jpg,cat\n"
    found = find(tmp_path, text, ["a.jpg", "b.jpg", "c.jpg"])
    assert not any("several labels" in remark for remark in found.remarks)


def test_the_label_is_the_only_column_whose_values_recur(tmp_path):
    text = "0\t1.000000\tx/a.jpg\n1\t0.000000\tx/b.jpg\n2\t1.000000\tx/c.jpg\n"
    found = find(tmp_path, text, ["x/a.jpg", "x/b.jpg", "x/c.jpg"], name="train.lst")
    assert classes(found) == {"x/a.jpg": "1", "x/b.jpg": "0", "x/c.jpg": "1"}


def test_what_pandas_writes_for_nothing_is_no_label(tmp_path):
    text = "path,label\na.jpg,1.0\nb.jpg,NaN\nc.jpg,0.0\nd.jpg,None\n"
    found = find(tmp_path, text, ["a.jpg", "b.jpg", "c.jpg", "d.jpg"])
    assert classes(found) == {"a.jpg": "1", "c.jpg": "0", "d.jpg": "None"}


def test_a_value_of_its_own_for_each_image_is_no_label(tmp_path):
    text = "path,price\n" + "".join(f"{i}.jpg,{i}.37\n" for i in range(10))
    images = [f"{i}.jpg" for i in range(10)]
    assert "each of the 10 images has a value of its own" in refused(tmp_path, text, images)


@pytest.mark.parametrize("number", ["{}", "{}.0", "{}.jpg"])
def test_numbers_without_their_zeros_are_found(tmp_path, number):
    images = [f"p/{i:05}.jpg" for i in (1, 20)]
    text = f"id,label\n{number.format(1)},a\n{number.format(20)},b\n"
    found = find(tmp_path, text, images)
    assert classes(found) == dict(zip(images, "ab", strict=True))
    assert "2 images are found by their names without leading zeros" in found.remarks


@pytest.mark.parametrize("name", ["train.csv", "labels.csv"])
def test_of_two_files_the_one_in_the_folder_of_the_split_is_meant(tmp_path, name):
    images = ["train/1.jpg", "train/2.jpg", "test/1.jpg", "test/2.jpg"]
    text = "id,label\n1,a\n2,b\n"
    if name == "labels.csv":
        text = "id,label,set\n1,a,train\n2,b,train\n"
    found = find(tmp_path, text, images, name=name)
    assert classes(found) == {"train/1.jpg": "a", "train/2.jpg": "b"}


def test_classes_with_boxes_behind_them_are_classes_if_each_image_has_one(tmp_path):
    text = "ImageId,PredictionString\na,n01 1 2 3 4 n01 5 6 7 8 \nb,n02 1 2 3 4\n"
    assert classes(find(tmp_path, text, ["a.JPEG", "b.JPEG"])) == {"a.JPEG": "n01", "b.JPEG": "n02"}
    words = refused(tmp_path, text.replace("n01 5", "n03 5"), ["a.JPEG", "b.JPEG"])
    assert "is more than one label" in words


def test_measured_numbers_are_no_classes_unless_their_column_is_named(tmp_path):
    text = "file,score\n" + "".join(f"{i}.jpg,{i % 4}.5\n" for i in range(12))
    images = [f"{i}.jpg" for i in range(12)]
    assert "its values are numbers with decimals, '0.5' say, and no classes; write ranges" in (
        refused(tmp_path, text, images)
    )
    found = find(tmp_path, text, images, label="score")
    assert {*classes(found).values()} == {"0.5", "1.5", "2.5", "3.5"}
