"""Damaged manifests, arrays, parameters, models and kept rows end in what their readers promise, or
the project's own error."""

import csv
import io
import json
import shutil
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.audit import AuditParams
from stages.weights import WeightsParams
from tests.fuzz.mutations import mutated
from tests.helpers.tiny_sources import REPOSITORY
from transfer.augmentation.warp import AugmentParams
from transfer.backbones.registry import BackboneParams
from transfer.classifiers.saved import Classifier, load_classifier, save_classifier
from transfer.compute.keras import keras
from transfer.compute.params import ComputeParams
from transfer.dataset.manifest import (
    COLUMNS,
    SPLITS,
    UNUSED,
    class_names,
    read_manifest,
    split_rows,
    write_manifest,
)
from transfer.dataset.perceptual_hashes import read_hashes, write_hashes
from transfer.dataset.split_params import SplitParams
from transfer.runtime.checksums import content_key
from transfer.runtime.params import load_param, load_params
from transfer.runtime.resource_params import ResourceParams
from transfer.sources.decoding import DecodeParams
from transfer.storage.arrays import read_array
from transfer.storage.row_cache import ActivationCache

SECTIONS = {
    "split": SplitParams,
    "decode": DecodeParams,
    "weights": WeightsParams,
    "augment": AugmentParams,
    "audit": AuditParams,
    "backbone": BackboneParams,
    "compute": ComputeParams,
    "resources": ResourceParams,
}
PARAMS = (REPOSITORY / "params.yaml").read_bytes()
TEXTS = st.text(max_size=8) | st.sampled_from(
    [
        "1e400",
        "-0",
        "0x10",
        "1:2",
        "2020-99-99",
        "nan",
        "((((",
        "a{1,",
        "[[a]]",
        "(?P<",
        "~",
        "a{9999999999}",
    ]
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(10**400), 10**400)
    | st.floats()
    | TEXTS
    | st.binary(max_size=4)
    | st.dates()
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SCALARS, inner, max_size=3),
    max_leaves=6,
)


# Manifests


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
    assert all(len(split_rows(found, split)) for split in SPLITS)
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
    write_hashes({name: f"{2**64 - 1 - i:016x}" for i, name in enumerate(images)}, path)
    original = path.read_bytes()

    @given(mutated([original]))
    def throw(content: bytes):
        path.write_bytes(content)
        found = guard("hashes", content, lambda: read_hashes(images, path), names=path)
        assert found is None or (found.dtype == np.uint64 and found.shape == (3,))

    throw()


# Arrays


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


# Parameters


def check_params(guard, name: str, content: bytes, path: Path) -> None:
    path.write_bytes(content)
    for section, kind in SECTIONS.items():
        found = guard(
            f"{name}: {section}",
            content,
            lambda section=section, kind=kind: load_params(kind, section, path),
            names=path,
        )
        assert found is None or isinstance(found, kind)
    size = guard(name, content, lambda: load_param(int, "backbone.image_size", path), names=path)
    assert size is None or isinstance(size, int)


def test_damaged_parameters_are_of_their_types_or_refused(guard, tmp_path):
    @given(mutated([PARAMS]))
    @settings(max_examples=settings().max_examples // 5)
    def throw(content: bytes):
        check_params(guard, "params", content, tmp_path / "params.yaml")

    throw()


def test_parameters_of_other_values_are_of_their_types_or_refused(guard, tmp_path):
    original = yaml.safe_load(PARAMS)
    places = st.sampled_from([(section, key) for section in SECTIONS for key in original[section]])

    @given(
        st.lists(st.tuples(places, VALUES), max_size=4),
        st.lists(places, max_size=2),
        st.dictionaries(SCALARS, VALUES, max_size=1),
    )
    @settings(max_examples=settings().max_examples // 3)
    def throw(changes: list, removed: list, added: dict):
        document = {section: dict(values) for section, values in original.items()}
        for (section, key), value in changes:
            document[section][key] = value
        for section, key in removed:
            document[section].pop(key, None)
        document["split"] |= added
        content = yaml.safe_dump(document, allow_unicode=True).encode("utf-8", "replace")
        check_params(guard, "params, values", content, tmp_path / "params.yaml")

    throw()


# Models


@pytest.fixture(scope="module")
def classifier(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("classifier")
    inputs = keras.Input((2, 2, 3), name="features")
    logits = keras.layers.Dense(2, name="logits")(
        keras.layers.Dropout(0.5, name="dropout")(keras.layers.Flatten(name="flat")(inputs))
    )
    saved = Classifier(keras.Model(inputs, logits, name="head"), "features", ["a", "b"], 3)
    save_classifier("head", saved, pd.DataFrame({"loss": [1.0]}), folder)
    load_classifier("head", folder)  # what Keras imports at first use
    return folder


def check_classifier(guard, name: str, content: bytes, folder: Path) -> None:
    found = guard(
        name, content, lambda: load_classifier("head", folder), names=folder / "head/model.json"
    )
    if found is None:
        return
    assert isinstance(found.model, keras.Model)
    assert found.input_kind in ("features", "cut")
    assert all(isinstance(name, str) for name in found.class_names)
    assert isinstance(found.epoch, int)


def test_damaged_weights_are_loaded_or_refused(guard, classifier, tmp_path):
    (tmp_path / "head").mkdir()
    (tmp_path / "head/model.json").write_bytes((classifier / "head/model.json").read_bytes())

    @given(mutated([(classifier / "head/model.weights.h5").read_bytes()]))
    @settings(max_examples=settings().max_examples // 3)
    def throw(content: bytes):
        (tmp_path / "head/model.weights.h5").write_bytes(content)
        check_classifier(guard, "classifier .h5", content, tmp_path)

    throw()


def paths_of(node: object, path: tuple = ()) -> list[tuple]:
    """The keys to every value in nested lists and dicts."""
    children = (
        node.items()
        if isinstance(node, dict)
        else enumerate(node)
        if isinstance(node, list)
        else ()
    )
    return [path] * bool(path) + [
        inner for key, child in children for inner in paths_of(child, (*path, key))
    ]


JSONS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 10)
    | st.floats()
    | st.text(max_size=4)
    | st.sampled_from(["Lambda", "float16", "builtins", "keras"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["class_name", "config", "module", "name", "a"]), inner, max_size=3
        )
    ),
    max_leaves=4,
)


def test_damaged_descriptions_are_loaded_or_refused(guard, classifier, tmp_path):
    shutil.copytree(classifier / "head", tmp_path / "head")
    original = (classifier / "head/model.json").read_bytes()

    @given(mutated([original, json.dumps(json.loads(original)).encode()]))
    @settings(max_examples=settings().max_examples // 3)
    def throw(content: bytes):
        (tmp_path / "head/model.json").write_bytes(content)
        check_classifier(guard, "classifier .json", content, tmp_path)

    throw()


def test_descriptions_of_other_values_are_loaded_or_refused(guard, classifier, tmp_path):
    shutil.copytree(classifier / "head", tmp_path / "head")
    original = (classifier / "head/model.json").read_text(encoding="utf-8")

    @given(st.lists(st.tuples(st.sampled_from(paths_of(json.loads(original))), JSONS), max_size=3))
    @settings(max_examples=settings().max_examples // 3)
    def throw(changes: list):
        document = json.loads(original)
        for (*above, last), value in changes:
            node = document
            with suppress(LookupError, TypeError):  # an earlier change has removed the place
                for key in above:
                    node = node[key]
                node[last] = value
        content = json.dumps(document).encode()
        (tmp_path / "head/model.json").write_bytes(content)
        check_classifier(guard, "classifier .json, values", content, tmp_path)

    throw()


# Kept rows


@pytest.mark.parametrize("suffix", [".index", ".rows"])
def test_damaged_kept_rows_are_the_very_rows_or_none(guard, tmp_path, suffix):
    layout = np.dtype([("cut", "<f4", (2,)), ("features", "<f4", (3,))])
    rows = {content_key(bytes([i])): np.array(((i, i), (i, 1, 2)), dtype=layout) for i in range(4)}
    with ActivationCache(tmp_path, b"network!" * 4, layout, 10**6) as store:
        for key, row in rows.items():
            store.put([key], [row])
    damaged = next(tmp_path.glob(f"*/*{suffix}"))

    @given(mutated([damaged.read_bytes()]))
    def throw(content: bytes):
        damaged.write_bytes(content)

        def read():
            cache = ActivationCache(tmp_path, b"network!" * 4, layout, 10**6)
            return [cache.get(key) for key in rows]

        for found, row in zip(guard(f"kept {suffix}", content, read), rows.values(), strict=True):
            assert found is None or found.tobytes() == row.tobytes()

    throw()
