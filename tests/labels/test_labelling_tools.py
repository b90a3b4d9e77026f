"""Exports of labelling tools and of other programs as tables, packed ones too; and files that
are no tables."""

import gzip
import json
import pickle

import pytest

from transfer.labels.label_words import single_label
from transfer.labels.tables import read_table
from transfer.runtime.errors import PipelineError


def test_datumaros_items_and_labels_that_are_objects(tmp_path):
    items = [
        {"id": f"{i}", "image": {"path": f"{i}.png"}, "annotations": found}
        for i, found in enumerate(
            [[{"type": "label", "label_id": 1}], [{"type": "bbox", "label_id": 0}], []]
        )
    ]
    names = {"label": {"labels": [{"name": "cat"}, {"name": "dog"}]}}
    content = {"info": {}, "categories": names, "items": items}
    (tmp_path / "default.json").write_text(json.dumps(content))
    assert read_table(tmp_path / "default.json").columns == {
        "path": ["0.png", "1.png", "2.png"],
        "label": ["dog", None, None],
    }
    assert single_label('{"tagName": "cat"}', "here", 1) == "cat"
    with pytest.raises(PipelineError, match="more than one label"):
        single_label('{"id": 3}', "here", 1)


def test_cvats_tags_are_read_and_its_boxes_refused(tmp_path):
    file = tmp_path / "annotations.xml"
    image = '<image id="0" name="{}" width="9"><tag label="{}" source="manual"></tag></image>'
    text = image.format("a &amp; b/1.png", "cat") + image.format("2.png", "dog")
    file.write_text(f'<?xml version="1.0"?><annotations>{text}<image id="2" name="3.png"/>')
    assert read_table(file).columns == {
        "name": ["a & b/1.png", "2.png", "3.png"],
        "label": ["cat", "dog", None],
    }
    file.write_text('<annotations><image name="1.png"><box label="cat"/></image></annotations>')
    with pytest.raises(PipelineError, match="boxes or outlines of objects and no tags"):
        read_table(file)
    file.write_text("<annotation><object/></annotation>")
    with pytest.raises(PipelineError, match="is XML, and not CVAT's"):
        read_table(file)


PAIRS = [["a.png", "cat"], ["b/c.png", "dog"]]
VIA = {f"{p}9": {"filename": p, "file_attributes": {"kind": n}, "regions": []} for p, n in PAIRS}


@pytest.mark.parametrize(
    "content",
    [
        PAIRS,
        {"labels": PAIRS},
        {"labels": [["a.png", 0], ["b/c.png", 1]]},
        {
            "classes": ["cat", "dog"],
            "images": [{"f": p, "label": "cd".index(n[0])} for p, n in PAIRS],
        },
        VIA,
    ],
)
def test_json_of_pairs_of_names_beside_and_of_attributes(tmp_path, content):
    (tmp_path / "x.json").write_text(json.dumps(content))
    paths, labels = read_table(tmp_path / "x.json").columns.values()
    assert paths == ["a.png", "b/c.png"]
    assert [single_label(label, "here", 1) for label in labels] in (["cat", "dog"], ["0", "1"])


def test_regions_without_attributes_of_files_are_refused(tmp_path):
    regions = {name: each | {"file_attributes": {}} for name, each in VIA.items()}
    (tmp_path / "via.json").write_text(json.dumps(regions))
    with pytest.raises(PipelineError, match="has no attributes of files, as regions of objects"):
        read_table(tmp_path / "via.json")
    with pytest.raises(PipelineError, match="line 4: .* has boxes or outlines of objects"):
        single_label('{"bbox": [[1, 2, 3, 4]]}', "here", 4)


def test_a_packed_table_is_read_up_to_its_limit(tmp_path, monkeypatch):
    file = tmp_path / "labels.csv.gz"
    file.write_bytes(gzip.compress(b"path,label\na.png,cat\n"))
    assert read_table(file).columns == {"path": ["a.png"], "label": ["cat"]}
    file.write_bytes(gzip.compress(b"path,label\na.png,cat\n")[:20])
    with pytest.raises(PipelineError, match="a damaged gzip file"):
        read_table(file)
    monkeypatch.setattr("transfer.labels.tables.MAX_TABLE_BYTES", 100)
    file.write_bytes(gzip.compress(b"x" * 1000))
    with pytest.raises(PipelineError, match="unpacked it has more than the 100 bytes"):
        read_table(file)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\n<!DOCTYPE html><html>sign in</html>", "a web page: the download failed; a sheet"),
        (b"version https://git-lfs.github.com/spec/v1\noid x\n", "a Git LFS pointer: git lfs pull"),
        (pickle.dumps({"a": 1}), "Python's pickle, which may run programs"),
    ],
)
def test_what_stands_in_place_of_a_table_is_named(tmp_path, content, message):
    (tmp_path / "labels.csv").write_bytes(content)
    with pytest.raises(PipelineError) as error:
        read_table(tmp_path / "labels.csv")
    assert f"labels.csv' is no table, but {message}" in str(error.value)


def test_a_first_line_of_words_may_name_the_columns(tmp_path):
    (tmp_path / "labels.txt").write_text("image class\na cat\nb dog\n")
    assert read_table(tmp_path / "labels.txt").columns == {
        "image": ["a", "b"],
        "class": ["cat", "dog"],
    }
