"""Damaged manifests, hashes and arrays end in what their readers promise, or the project's own
error."""

import csv
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.mutations import mutated
from tests.fuzz.values import TEXTS, VALUES
from transfer.dataset.manifest import (
    COLUMNS,
    REQUIRED,
    SPLITS,
    UNUSED,
    class_names,
    read_manifest,
    split_rows,
    write_manifest,
)
from transfer.dataset.perceptual_hashes import read_hashes, write_hashes
from transfer.storage.arrays import read_array


@pytest.fixture(scope="module")
def manifest(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("manifest") / "manifest.csv"
    rows = [
        (split, f"{name}/{split} {i}.png", name, label, 2 * i + label, f"{i + label:064x}")
        for split in (*SPLITS, UNUSED)
        for i in range(2)
        for label, name in enumerate(["cat", 'd"ö"g, NA'])
    ]
    write_manifest(pd.DataFrame(rows, columns=COLUMNS), path)
    return path


def check_manifest(guard, name: str, content: bytes, path: Path) -> None:
    path.write_bytes(content)
    found = guard(name, content, lambda: read_manifest(path), names=path)
    if found is None:
        return
    assert list(found.columns) == COLUMNS
    assert found.index.equals(pd.RangeIndex(len(found)))
    assert all(len(split_rows(found, split)) for split in REQUIRED)
    assert found["path"].is_unique
    assert [class_names(found)[label] for label in found["label"]] == found["class_name"].tolist()
    assert all(
        isinstance(cell, str)
        for column in ("split", "path", "class_name", "sha256")
        for cell in found[column]
    )
    assert np.issubdtype(found["group"].dtype, np.integer)


def test_a_damaged_manifest_is_a_manifest_or_refused(guard, manifest, tmp_path):
    @given(mutated([manifest.read_bytes()]))
    def throw(content: bytes):
        check_manifest(guard, "manifest", content, tmp_path / "manifest.csv")

    throw()


def test_a_manifest_of_other_cells_is_a_manifest_or_refused(guard, manifest, tmp_path):
    original = list(csv.reader(io.StringIO(manifest.read_text(encoding="utf-8"))))
    rows, columns = st.integers(0, len(original) - 1), st.integers(0, len(COLUMNS) - 1)
    cells = TEXTS | st.sampled_from(
        [*COLUMNS, *SPLITS, "1", "-1", "9" * 30, "1.5", "", "cat", "True", "0" * 64]
    )

    @given(
        st.lists(st.tuples(rows, columns, cells), max_size=3),
        st.lists(rows, max_size=2),
        st.lists(rows, max_size=2),
    )
    def throw(changes: list, dropped: list, repeated: list):
        table = [row.copy() for row in original]
        for row, column, cell in changes:
            table[row][column] = cell
        table = [row for number, row in enumerate(table) if number not in dropped] + [
            table[number] for number in repeated
        ]
        buffer = io.StringIO()
        csv.writer(buffer, lineterminator="\n").writerows(table)
        check_manifest(
            guard,
            "manifest, cells",
            buffer.getvalue().encode("utf-8", "replace"),
            tmp_path / "manifest.csv",
        )

    throw()


def test_damaged_hashes_are_hashes_or_refused(guard, tmp_path):
    path = tmp_path / "hashes.csv"
    images = pd.Series(["cat/1.png", 'd"ö"g/2.png', "NA"])
    write_hashes(images, [2**64 - 1 - i for i in range(len(images))], path)
    original = path.read_bytes()

    @given(mutated([original]))
    def throw(content: bytes):
        path.write_bytes(content)
        found = guard("hashes", content, lambda: read_hashes(images, path), names=path)
        assert found is None or (found.dtype == np.uint64 and found.shape == (3,))

    throw()


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def npz() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, np.arange(6))
    return buffer.getvalue()


def check_array(
    guard, name: str, content: bytes, path: Path, rows: int | None, ndim: int | None
) -> None:
    path.write_bytes(content)
    found = guard(
        name, (content, rows, ndim), lambda: read_array(path, rows=rows, ndim=ndim), names=path
    )
    if found is None:
        return
    assert isinstance(found, np.memmap)
    assert not found.flags.writeable
    assert found.dtype.kind in "biuf"
    assert found.nbytes <= len(content)
    assert ndim is None or found.ndim == ndim
    assert rows is None or len(found) == rows


def test_a_damaged_array_is_a_map_of_numbers_or_refused(guard, tmp_path):
    originals = [npy(np.arange(24, dtype=dtype).reshape(2, 3, 4)) for dtype in ("u1", "<f4", ">i8")]
    originals += [
        npy(np.array([{"a": 1}, None])),
        npz(),
        npy(np.zeros(2, dtype=[("a", "u1")])),
        npy(np.array(["text"])),
    ]

    @given(mutated(originals), st.sampled_from([None, 2]), st.sampled_from([None, 3]))
    def throw(content: bytes, rows: int | None, ndim: int | None):
        check_array(guard, "array", content, tmp_path / "array.npy", rows, ndim)

    throw()


@st.composite
def headers(draw: st.DrawFn) -> bytes:
    """A `.npy` of any plain type and small shape, but for up to two fields of its header."""
    odd = draw(st.sets(st.sampled_from(["descr", "fortran_order", "shape", "version"]), max_size=2))
    fields = {
        "descr": draw(
            ODD_TYPES
            if "descr" in odd
            else st.sampled_from(["'<f4'", "'|u1'", "'>i8'", "'<f2'", "'|b1'"])
        ),
        "fortran_order": draw(
            ODD_ORDERS if "fortran_order" in odd else st.sampled_from(["False", "True"])
        ),
        "shape": draw(
            ODD_SHAPES
            if "shape" in odd
            else st.lists(st.integers(1, 3), max_size=4).map(tuple).map(repr)
        ),
    }
    version = draw(
        st.binary(min_size=2, max_size=2)
        if "version" in odd
        else st.sampled_from([b"\x01\x00", b"\x02\x00", b"\x03\x00"])
    )
    header = f"{{{', '.join(f'{name!r}: {value}' for name, value in fields.items())}}}\n".encode(
        "utf-8", "replace"
    )
    length = len(header).to_bytes(2 if version < b"\x02" else 4, "little")
    return (
        b"\x93NUMPY"
        + version
        + length
        + header
        + draw(st.just(bytes(1000)) | st.binary(max_size=100))
    )


SIDES = st.integers(-1, 3) | st.sampled_from(
    [2**31, 2**32, 2**62, 2**63, 2**64, -(2**63), 1.5, True, None, "2"]
)
ODD_SHAPES = (
    st.lists(SIDES, max_size=4).map(tuple).map(repr) | st.just("(" * 300) | VALUES.map(repr)
)
ODD_ORDERS = st.sampled_from(["1", "None", "'True'", ""])
ODD_KINDS = st.sampled_from(
    ["|O", "<f16", "<U4", "|V8", "<M8[s]", "<c8", "|S0", "<f3", "", "<f4,<f4"]
)
ODD_TYPES = (
    ODD_KINDS.map(repr)
    | st.sampled_from(["[('a', '|O')]", "[('a', '<f4', (2,))]"])
    | VALUES.map(repr)
    | st.text(max_size=9)
)


def test_an_array_of_another_header_is_a_map_of_numbers_or_refused(guard, tmp_path):
    @given(headers(), st.sampled_from([None, 2]))
    def throw(content: bytes, rows: int | None):
        check_array(guard, "array, header", content, tmp_path / "array.npy", rows, None)

    throw()
