"""Damaged parameters, models and kept rows end in what their readers promise, or the project's own
error."""

import json
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
from tests.fuzz.values import SCALARS, VALUES
from tests.helpers.tiny_sources import REPOSITORY
from transfer.augmentation.warp import AugmentParams
from transfer.backbones.registry import BackboneParams
from transfer.classifiers.names import description_file, weights_file
from transfer.classifiers.saved import Classifier, load_classifier, save_classifier
from transfer.compute.keras import keras
from transfer.compute.params import ComputeParams
from transfer.dataset.split_params import SplitParams
from transfer.decoding.rgb import DecodeParams
from transfer.runtime.checksums import content_key
from transfer.runtime.params import load_param, load_params
from transfer.runtime.resource_params import ResourceParams
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


@pytest.fixture
def head(project) -> None:
    """A small head in a project of its own."""
    inputs = keras.Input((2, 2, 3), name="features")
    logits = keras.layers.Dense(2, name="logits")(
        keras.layers.Dropout(0.5, name="dropout")(keras.layers.Flatten(name="flat")(inputs))
    )
    saved = Classifier(keras.Model(inputs, logits, name="head"), "features", ["a", "b"], 3)
    save_classifier("head", saved, pd.DataFrame({"loss": [1.0]}))
    load_classifier("head")  # what Keras imports at first use


def check_classifier(guard, name: str, content: bytes) -> None:
    found = guard(name, content, lambda: load_classifier("head"), names=description_file("head"))
    if found is None:
        return
    assert isinstance(found.model, keras.Model)
    assert found.input_kind in ("features", "cut")
    assert all(isinstance(name, str) for name in found.class_names)
    assert isinstance(found.epoch, int)


def test_damaged_weights_are_loaded_or_refused(guard, head):
    @given(mutated([weights_file("head").read_bytes()]))
    @settings(max_examples=settings().max_examples // 3)
    def throw(content: bytes):
        weights_file("head").write_bytes(content)
        check_classifier(guard, "classifier .h5", content)

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


def test_damaged_descriptions_are_loaded_or_refused(guard, head):
    original = description_file("head").read_bytes()

    @given(mutated([original, json.dumps(json.loads(original)).encode()]))
    @settings(max_examples=settings().max_examples // 3)
    def throw(content: bytes):
        description_file("head").write_bytes(content)
        check_classifier(guard, "classifier .json", content)

    throw()


def test_descriptions_of_other_values_are_loaded_or_refused(guard, head):
    original = description_file("head").read_text(encoding="utf-8")

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
        description_file("head").write_bytes(content)
        check_classifier(guard, "classifier .json, values", content)

    throw()


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
