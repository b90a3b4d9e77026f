"""Tables of every form in which people have them, as columns of text."""

import json
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from transfer.labels import tables
from transfer.labels.table_folders import read_tables
from transfer.labels.tables import read_table
from transfer.runtime.errors import PipelineError

ROWS = {"path": ["a.png", "ü, b.png"], "label": ["Käfer", "dog"]}
RECORDS = [{"path": p, "label": n} for p, n in zip(*ROWS.values(), strict=True)]


def csv_text(delimiter: str = ",", end: str = "\n") -> str:
    return end.join(
        [f"path{delimiter}label", f"a.png{delimiter}Käfer", f'"ü, b.png"{delimiter}dog', ""]
    )


@pytest.mark.parametrize(
    "content, form",
    [
        (csv_text().encode(), "CSV with commas"),
        (csv_text(end="\r\n").encode("utf-8-sig"), "CSV with commas"),
        (csv_text(";").encode(), "CSV with semicolons"),
        (csv_text("\t").encode(), "CSV with tabs"),
        (csv_text("|").encode(), "CSV with vertical bars"),
        (csv_text(";").encode("cp1252"), "CSV with semicolons, latin-1"),
        (csv_text("\t").encode("utf-16"), "CSV with tabs, UTF-16"),
        (csv_text().encode("utf-16-le"), "CSV with commas, UTF-16"),
        (csv_text().encode("utf-16-be"), "CSV with commas, UTF-16"),
        (csv_text().encode("utf-32"), "CSV with commas, UTF-32"),
        (("# by hand\n# in May\n" + csv_text()).encode(), "CSV with commas"),
        (("#" + csv_text()).encode(), "CSV with commas"),
        (b"sep=;\r\n" + csv_text(";", "\r\n").encode(), "CSV with semicolons"),
        (b"\n" + csv_text(end="\n\n").encode(), "CSV with commas"),
        ("\n".join(map(json.dumps, RECORDS)), "JSON lines"),
        (json.dumps(RECORDS), "JSON"),
        (json.dumps(dict(zip(*ROWS.values(), strict=True))), "JSON, label by path"),
        (json.dumps({k: dict(enumerate(v)) for k, v in ROWS.items()}), "JSON by column"),
        (json.dumps({"version": 1, "data": RECORDS}), "JSON"),
        (json.dumps({"Käfer": ["a.png"], "dog": ["ü, b.png"]}), "JSON, lists of paths by label"),
        (
            json.dumps({each["path"]: {"label": each["label"]} for each in RECORDS}),
            "JSON by path",
        ),
    ],
)
def test_text_of_any_delimiter_and_encoding(tmp_path, content, form):
    file = tmp_path / "labels.txt"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    table = read_table(file)
    assert table.columns == ROWS
    assert table.form == form


def test_parquet_with_hugging_faces_names_of_classes(tmp_path):
    file = tmp_path / "train.parquet"
    features = {"info": {"features": {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}}
    table = pa.table(
        {"image": [{"path": "a.png", "bytes": b"\xff"}] * 2, "label": [0, 1], "n": [1.0, None]}
    ).replace_schema_metadata({"huggingface": json.dumps(features)})
    pq.write_table(table, file)
    assert read_table(file).columns == {
        "image": ["a.png", "a.png"],
        "label": ["cat", "dog"],
        "n": ["1", None],
    }


def test_vertex_import_files_have_no_header(tmp_path):
    file = tmp_path / "import.csv"
    file.write_text("TRAIN,gs://b/x/a.png,cat\ngs://b/x/b.png,dog\nTEST,gs://b/x/c.png,cat,dog\n")
    assert read_table(file).columns == {
        "ml_use": ["TRAIN", None, "TEST"],
        "path": ["gs://b/x/a.png", "gs://b/x/b.png", "gs://b/x/c.png"],
        "label": ["cat", "dog", '["cat", "dog"]'],
    }


def test_label_studios_tasks_give_a_row_for_each_annotation(tmp_path):
    def annotated(*choices: str, cancelled: bool = False) -> dict:
        result = {"type": "choices", "value": {"choices": [*choices]}}
        return {"result": [result], "was_cancelled": cancelled}

    file = tmp_path / "project.json"
    tasks = [
        {"data": {"image": "/data/upload/1/0a1b2c3d-a.png"}, "annotations": [annotated("cat")]},
        {
            "data": {"photo": "s3://b/b.png"},
            "annotations": [annotated("dog"), annotated("cat", cancelled=True)],
        },
        {"data": {"image": "/data/upload/1/0a1b2c3d-c.png"}, "annotations": []},
    ]
    file.write_text(json.dumps(tasks))
    assert read_table(file).columns == {
        "image": ["/data/upload/1/0a1b2c3d-a.png", "s3://b/b.png", "/data/upload/1/0a1b2c3d-c.png"],
        "choice": ["cat", "dog", None],
    }


@pytest.mark.parametrize(
    "annotations",
    [3, [{"result": 3}], [{"result": [{"value": {"choices": 3}}]}]],
)
def test_numbers_of_annotations_are_no_labels(tmp_path, annotations):
    file = tmp_path / "project.json"
    file.write_text(json.dumps([{"data": {"image": "a.png"}, "annotations": annotations}]))
    assert read_table(file).columns == {"image": ["a.png"], "choice": [None]}


def test_a_table_without_a_header_is_found_by_its_paths(tmp_path):
    file = tmp_path / "labels.csv"
    file.write_text("x/1.jpg,cat\nx/2.jpg,dog\n")
    assert read_table(file).columns == {
        "column 1": ["x/1.jpg", "x/2.jpg"],
        "column 2": ["cat", "dog"],
    }


def test_the_line_of_a_row_is_that_of_the_file(tmp_path):
    file = tmp_path / "labels.csv"
    file.write_text('path,label,note\n\n"a.png",cat,"two\nlines"\nb.png,dog,\n')
    table = read_table(file)
    assert table.lines == [4, 5]
    assert table.columns["note"] == ["two\nlines", None]


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf \n", "is empty"),
        (b'sep=,\n,,\n"",""\n', "is empty"),
        (b"# no rows yet\n", "is empty"),
        (b"path\na.png\n", "no comma, semicolon or tab divides its lines"),
        (b"path,label\na.png,cat,tabby\n", "line 2: 3 cells instead of 2"),
        (b"path,label\na.png\n", "line 2: 1 cells instead of 2"),
        (b'path,label\n"a.png,cat\n', "line 2: unexpected end of data"),
        (b'# by hand\n\n#path,label\n"a.png,cat\n', "line 4: unexpected end of data"),
        (b"path,path\na.png,cat\n", "two columns are named 'path'"),
        (b"\x89PNG\0\0\0\0\1\2", "is not text"),
        (b"PAR1 and no more", "a damaged Parquet file"),
        (b'{"path": "a.png"\n', "line 1: no JSON"),
        (b"[[1, 2]]", "record 1: '[1, 2]' instead of an object"),
        (b'{"images": [], "annotations": []}', "JSON with 'images', 'annotations'"),
        (b"[" * 100_000, "JSON that is nested too deep"),
        (b'{"a.png": ' + b"1" * 5000 + b"}", "line 1: no JSON (Exceeds the limit"),
        (
            b"gs://b/a.png,cat\nTRAIN,s3://b/a.png,cat\n",
            "line 2: no address that begins with gs://",
        ),
    ],
)
def test_what_is_no_table_is_refused_with_its_reason(tmp_path, content, message):
    file = tmp_path / "labels.csv"
    file.write_bytes(content)
    with pytest.raises(PipelineError) as error:
        read_table(file)
    assert message in str(error.value)
    assert repr(str(file)) in str(error.value)


def test_a_table_that_is_not_there_or_too_large_is_refused(tmp_path, monkeypatch):
    for read, path, message in [
        (read_table, tmp_path / "none.csv", "no such table"),
        (read_tables, tmp_path, "is a folder"),
    ]:
        with pytest.raises(PipelineError, match=message):
            read(path)
    monkeypatch.setattr(tables, "MAX_TABLE_BYTES", 3)
    (tmp_path / "large.csv").write_text("path,label\n")
    with pytest.raises(PipelineError, match="11 bytes, more than the 3"):
        read_table(tmp_path / "large.csv")


def test_a_pipe_is_no_table(tmp_path):
    os.mkfifo(tmp_path / "labels.csv")
    with pytest.raises(PipelineError, match="is a pipe or a device, and no table"):
        read_table(tmp_path / "labels.csv")


@pytest.mark.parametrize(
    "encoding, labels",
    [
        ("cp932", ["猫", "犬"]),
        ("gbk", ["猫咪", "小狗"]),
        ("cp949", ["고양이", "강아지"]),
        ("cp1251", ["кошка", "собака"]),
        ("cp1250", ["kočka", "žába"]),
        ("cp1253", ["γάτα", "σκύλος"]),
    ],
)
def test_a_code_page_is_guessed_and_said(tmp_path, encoding, labels):
    file = tmp_path / "labels.csv"
    file.write_bytes(f"path,label\na.png,{labels[0]}\nb.png,{labels[1]}\n".encode(encoding))
    table = read_table(file)
    assert table.columns["label"] == labels
    assert table.form == f"CSV with commas, {encoding} (guessed)"


def test_lists_of_paths_and_labels_are_read(tmp_path):
    file = tmp_path / "val.txt"
    file.write_text("val/a 1.JPEG 65\n\nval/b.JPEG   red panda \n")
    table = read_table(file)
    assert table.columns == {"path": ["val/a 1.JPEG", "val/b.JPEG"], "label": ["65", "red panda"]}
    assert (table.lines, table.form) == ([1, 3], "list of paths and labels")


def test_lists_of_stems_and_labels_of_several_words_are_read(tmp_path):
    (tmp_path / "train.txt").write_text("1025794 707-320\n1340192 727 x\n")
    assert read_table(tmp_path / "train.txt").columns == {
        "column 1": ["1025794", "1340192"],
        "column 2": ["707-320", "727 x"],
    }


def test_lists_of_words_between_spaces_are_read(tmp_path):
    file = tmp_path / "list.txt"
    file.write_text("# image class species breed\nAbyssinian_100 1 1 1\nyorkshire_9 37 2 25\n")
    assert read_table(file).columns == {
        "column 1": ["Abyssinian_100", "yorkshire_9"],
        "column 2": ["1", "37"],
        "column 3": ["1", "2"],
        "column 4": ["1", "25"],
    }


def test_import_files_of_vertex_and_sagemaker(tmp_path):
    vertex, sagemaker = tmp_path / "import.jsonl", tmp_path / "output.manifest"
    use = {"aiplatform.googleapis.com/ml_use": "test"}
    records = [
        {
            "imageGcsUri": "gs://b/a.png",
            "classificationAnnotation": {"displayName": "cat"},
            "dataItemResourceLabels": use,
        },
        {"imageGcsUri": "gs://b/b.png", "classificationAnnotation": {"displayName": "dog"}},
    ]
    vertex.write_text("\n".join(map(json.dumps, records)))
    table = read_table(vertex)
    assert table.form == "Vertex AI's JSON lines"
    assert table.columns == {
        "path": ["gs://b/a.png", "gs://b/b.png"],
        "label": ["cat", "dog"],
        "ml_use": ["test", None],
    }
    records = [
        {"source-ref": "s3://b/a.png", "pet": 0, "pet-metadata": {"class-name": "cat"}},
        {"source-ref": "s3://b/b.png", "pet": 1, "pet-metadata": {"class-name": "dog"}},
    ]
    sagemaker.write_text("\n".join(map(json.dumps, records)))
    assert read_table(sagemaker).columns == {
        "path": ["s3://b/a.png", "s3://b/b.png"],
        "label": ["cat", "dog"],
    }


COCO = {
    "images": [{"id": 7, "file_name": "a.png"}, {"id": 8, "file_name": "b.png"}],
    "annotations": [{"image_id": 8, "category_id": 1}, {"image_id": 7, "category_id": 2}],
    "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
}


def test_cocos_form_with_a_category_for_each_image_is_read_and_boxes_are_refused(tmp_path):
    file = tmp_path / "train.json"
    file.write_text(json.dumps(COCO))
    assert read_table(file).columns == {"file_name": ["b.png", "a.png"], "label": ["cat", "dog"]}
    annotations = [each | {"bbox": [1, 2, 3, 4]} for each in COCO["annotations"]]
    file.write_text(json.dumps(COCO | {"annotations": annotations}))
    with pytest.raises(PipelineError, match="has boxes or outlines of objects"):
        read_table(file)
    box = {"value": {"x": 1, "y": 1, "width": 2, "height": 2, "rectanglelabels": ["cat"]}}
    tasks = [{"data": {"image": "a.png"}, "annotations": [{"result": [box]}]}]
    file.write_text(json.dumps(tasks))
    with pytest.raises(PipelineError, match="boxes or outlines of objects and no choices"):
        read_table(file)


@pytest.mark.parametrize("start", [b"PK\3\4", b"\xd0\xcf\x11\xe0"])
def test_a_workbook_is_refused_with_what_to_do(tmp_path, start):
    (tmp_path / "labels.xlsx").write_bytes(start + bytes(100))
    with pytest.raises(PipelineError, match="is a workbook of Excel.*save its sheet as CSV"):
        read_table(tmp_path / "labels.xlsx")


def test_a_first_row_whose_label_recurs_is_no_header(tmp_path):
    (tmp_path / "labels.csv").write_text("0,cat\n1,dog\n2,cat\n")
    table = read_table(tmp_path / "labels.csv")
    assert table.columns == {"column 1": ["0", "1", "2"], "column 2": ["cat", "dog", "cat"]}
    assert table.form == "CSV with commas, without a header"


@pytest.mark.parametrize(
    ("content", "columns"),
    [
        (
            {
                "train": [{"image": "a.jpg", "label": "x"}],
                "val": [{"image": "b.jpg", "label": "y"}],
            },
            {"image": ["a.jpg", "b.jpg"], "label": ["x", "y"], "split": ["train", "val"]},
        ),
        (
            {"classes": ["cat", "dog"], "labels": {"a": 0, "b": 1, "c": "owl", "d": None}},
            {"path": ["a", "b", "c", "d"], "label": ["cat", "dog", "owl", None]},
        ),
    ],
)
def test_json_by_split_and_of_fiftyone(tmp_path, content, columns):
    (tmp_path / "labels.json").write_text(json.dumps(content))
    assert read_table(tmp_path / "labels.json").columns == columns


CSV_WITH_NOTE = "path,label,note\na.png,cat,one{0}two\nb.png,dog,\n"


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        *((CSV_WITH_NOTE, character) for character in "\u2028\x85\x0b\x0c\x1c"),
        (CSV_WITH_NOTE.replace(",", "\t").replace("\n", "\r\n"), "\x0b"),
        ('{{"path": "a.png", "label": "cat", "note": "one{0}two"}}\n'
         '{{"path": "b.png", "label": "dog"}}\n', "\u2028"),
    ],
)  # fmt: skip
def test_only_line_ends_end_a_row(tmp_path, text, inside):
    (tmp_path / "labels.txt").write_bytes(text.format(inside).encode())
    assert read_table(tmp_path / "labels.txt").columns == {
        "path": ["a.png", "b.png"],
        "label": ["cat", "dog"],
        "note": [f"one{inside}two", None],
    }


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_of_any_system_end_a_row(tmp_path, end):
    file = tmp_path / "labels.csv"
    file.write_bytes(end.join(["path,label", "a.png,cat", "b.png,dog"]).encode())
    assert read_table(file).columns == {"path": ["a.png", "b.png"], "label": ["cat", "dog"]}
