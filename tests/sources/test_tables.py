"""Tables of every form in which people have them, as columns of text."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from transfer.runtime.errors import PipelineError
from transfer.sources import tables
from transfer.sources.tables import read_table

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
        (b"sep=;\r\n" + csv_text(";", "\r\n").encode(), "CSV with semicolons"),
        (b"\n" + csv_text(end="\n\n").encode(), "CSV with commas"),
        ("\n".join(map(json.dumps, RECORDS)), "JSON lines"),
        (json.dumps(RECORDS), "JSON"),
        (json.dumps(dict(zip(*ROWS.values(), strict=True))), "JSON, label by path"),
        (json.dumps({k: dict(enumerate(v)) for k, v in ROWS.items()}), "JSON by column"),
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
        (b"path\na.png\n", "no comma, semicolon or tab divides its lines"),
        (b"path,label\na.png,cat,tabby\n", "line 2: 3 cells instead of 2"),
        (b"path,label\na.png\n", "line 2: 1 cells instead of 2"),
        (b'path,label\n"a.png,cat\n', "line 2: unexpected end of data"),
        (b"path,path\na.png,cat\n", "two columns are named 'path'"),
        (b"\x89PNG\0\0\0\0\1\2", "is not text"),
        (b"PAR1 and no more", "a damaged Parquet file"),
        (b'{"path": "a.png"\n', "line 1: no JSON"),
        (b"[[1, 2]]", "record 1: '[1, 2]' instead of an object"),
        (b'{"images": [], "annotations": []}', "JSON with 'images', 'annotations'"),
        (b"[" * 100_000, "JSON that is nested too deep"),
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
    for path, message in [
        (tmp_path / "none.csv", "no such table"),
        (tmp_path, "is a folder"),
    ]:
        with pytest.raises(PipelineError, match=message):
            read_table(path)
    monkeypatch.setattr(tables, "MAX_TABLE_BYTES", 3)
    (tmp_path / "large.csv").write_text("path,label\n")
    with pytest.raises(PipelineError, match="11 bytes, more than the 3"):
        read_table(tmp_path / "large.csv")


def test_the_metadata_files_of_a_folder_are_one_table(tmp_path):
    for split, header in (("train", "file_name,label,note"), ("test", "label,file_name")):
        (tmp_path / split).mkdir()
        rows = {"train": "1.png,cat,x\n2.png,dog,y\n", "test": "cat,sub/3.png\n"}[split]
        (tmp_path / split / "metadata.csv").write_text(f"{header}\n{rows}")
    table = read_table(tmp_path)
    assert table.columns == {
        "label": ["cat", "cat", "dog"],
        "file_name": ["test/sub/3.png", "train/1.png", "train/2.png"],
    }
    (tmp_path / "metadata.csv").write_text("path,label\n1.png,cat\n")
    with pytest.raises(PipelineError, match="has no column 'file_name'"):
        read_table(tmp_path)
