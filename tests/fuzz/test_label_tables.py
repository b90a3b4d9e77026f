"""Damaged tables of labels end in labels of files that there are, or in the project's own error."""

import gzip
import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.conftest import Guard
from tests.fuzz.mutations import mutated
from transfer.labels.find_labels import find_path_labels
from transfer.labels.path_label import LabelColumns

IMAGES = ["images/1.jpg", "images/2.jpg", "images/ü, 3.jpg", "x/4.png"]
COLUMNS = LabelColumns(**dict.fromkeys(LabelColumns.model_fields))
RECORDS = [
    {"path": path, "label": label, "split": split, "weight": 0.5}
    for path, label, split in zip(
        IMAGES, ("cat", "dog", "cat", "dog"), ("train", "val", "test", "train"), strict=True
    )
]
ROWS = "path;label;split\n" + "".join(
    f'"{each["path"]}";{each["label"]};{each["split"]}\n' for each in RECORDS
)
TASKS = [
    {
        "data": {"image": f"/data/upload/1/0a1b2c3d-{Path(path).name}"},
        "annotations": [{"result": [{"value": {"choices": [label]}}]}],
    }
    for path, label in zip(IMAGES, ("cat", "dog", "cat", "dog"), strict=True)
]


COCO = {
    "images": [{"id": number, "file_name": path} for number, path in enumerate(IMAGES)],
    "annotations": [{"image_id": n, "category_id": n % 2} for n in range(len(IMAGES))],
    "categories": [{"id": 0, "name": "cat"}, {"id": 1, "name": "dog"}],
}
LABELS = [(each["path"], each["label"]) for each in RECORDS]
DATUMARO = {
    "items": [
        {"id": path, "annotations": [{"type": "label", "label_id": n % 2}]}
        for n, path in enumerate(IMAGES)
    ],
    "categories": {"label": {"labels": [{"name": "cat"}, {"name": "dog"}]}},
}
VIA = {
    path: {"filename": path, "file_attributes": {"kind": label}, "regions": []}
    for path, label in LABELS
}
CVAT = "".join(f'<image id="0" name="{p}"><tag label="{n}"></tag></image>' for p, n in LABELS)
VERTEX = [
    {
        "imageGcsUri": f"gs://b/{each['path']}",
        "classificationAnnotation": {"displayName": each["label"]},
    }
    for each in RECORDS
]


def parquet() -> bytes:
    buffer = io.BytesIO()
    features = {"info": {"features": {"label": {"names": ["cat", "dog"]}}}}
    table = pa.Table.from_pylist(RECORDS)
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps(features)}), buffer)
    return buffer.getvalue()


TABLES = [
    ROWS.encode(),
    ROWS.encode("utf-16"),
    b"id,label\n1,cat\n2,dog\n4,cat\n",
    b"TRAIN,gs://b/images/1.jpg,cat\nTEST,gs://b/images/2.jpg,dog\n",
    "\n".join(map(json.dumps, RECORDS)).encode(),
    json.dumps(RECORDS).encode(),
    json.dumps(TASKS).encode(),
    json.dumps({each["path"]: each["label"] for each in RECORDS}).encode(),
    json.dumps({"cat": IMAGES[::2], "dog": IMAGES[1::2]}).encode(),
    json.dumps({"data": RECORDS}).encode(),
    json.dumps(COCO).encode(),
    "".join(f"{json.dumps(each)}\n" for each in VERTEX).encode(),
    b"images/1.jpg 0\nimages/2.jpg 1\nx/4.png 0\n",
    b"0\t1.000000\timages/1.jpg\n1\t0.000000\timages/2.jpg\n2\t1.000000\tx/4.png\n",
    b"# by hand\nimage,cat,dog\n1,1,0\n2,0,1\n4,1.0,0.0\n",
    "path;label\n1.jpg;кошка\n2.jpg;собака\n".encode("cp1251"),
    parquet(),
    json.dumps(DATUMARO).encode(),
    json.dumps(VIA).encode(),
    json.dumps({"labels": [[path, label] for path, label in LABELS]}).encode(),
    json.dumps(
        {"names": ["cat", "dog"], "x": [{"f": p, "label": n == "dog"} for p, n in LABELS]}
    ).encode(),
    f"<annotations>{CVAT}</annotations>".encode(),
    gzip.compress(ROWS.encode(), mtime=0),
]


def notes() -> list[bytes]:
    """Notes beside pictures, and lists."""
    shape = {"label": "cat", "points": [[1, 2]]}
    return [
        b"cat\n",
        b"0 0.5 0.5 0.25 0.25\n",
        b'{"flags": {"cat": true, "dog": false}, "shapes": []}',
        json.dumps({"flags": {}, "shapes": [shape]}).encode(),
        b'{"tags": [{"name": "cat"}]}',
        b"<annotation><object><name>cat</name></object></annotation>",
        b"images/1.jpg\nimages/2.jpg\n",
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("tables")


def test_the_whole_tables_are_read(guard, folder):
    for number, content in enumerate(TABLES):
        assert check(guard, folder, content), number


@given(content=mutated(TABLES))
def test_damaged_tables(guard, folder, content):
    check(guard, folder, content)


@given(
    record=st.dictionaries(
        st.sampled_from(["path", "label", "split", "annotations", "data", "image"]) | st.text(),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: (
                st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
            ),
            max_leaves=8,
        ),
        max_size=4,
    )
)
def test_json_of_any_kind(guard, folder, record):
    for content in ([record, RECORDS[0]], record, {"path": record}, [[record]]):
        check(guard, folder, json.dumps(content).encode())


@given(
    first=mutated(notes()), second=mutated(notes()), suffix=st.sampled_from(["txt", "json", "xml"])
)
def test_damaged_notes_and_lists(guard, folder, first, second, suffix):
    place = folder / "notes"
    place.mkdir(exist_ok=True)
    for old in place.iterdir():
        old.unlink()
    for name, content in (("1", first), ("2", second)):
        (place / f"{name}.{suffix}").write_bytes(content)
    found = guard(
        "notes beside pictures",
        first + second,
        lambda: find_path_labels(IMAGES, [], str(folder), str(place), COLUMNS, None),
        names="notes",
    )
    assert found is None or {*found.labels} <= {*IMAGES}


def check(guard: Guard, folder: Path, content: bytes) -> bool:
    """Whether the table gave labels."""
    table = folder / "labels.csv"
    table.write_bytes(content)
    found = guard(
        "label tables",
        content,
        lambda: find_path_labels(IMAGES, ["notes.txt"], str(folder), str(table), COLUMNS, None),
        names="labels.csv",
    )
    if found is None:
        return False
    assert {*found.labels} <= {*IMAGES, "notes.txt"}
    assert all(label.class_name for label in found.labels.values())
    return True
