"""Arrays on disk: whole or not there, and never believed when they disagree with the manifest."""

import io
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from tests.helpers.tiny_sources import REPOSITORY, write_params
from transfer.dataset.examples import load_views, read_examples
from transfer.dataset.manifest import SPLITS
from transfer.runtime.errors import PipelineError
from transfer.storage.array_paths import find_array, inputs_path, views_path
from transfer.storage.array_writer import create_array
from transfer.storage.arrays import read_array, release_pages, take
from transfer.storage.params import ArrayFormat, Shards

NPY = ArrayFormat()


def write(path, array):
    with create_array(
        path.with_suffix(""),
        array.shape[:1],
        array.shape[1:],
        str(array.dtype),
        "some.parameter",
        NPY,
    ) as rows:
        for i, row in enumerate(array):
            rows[i] = row


def test_what_is_written_is_read_back_as_a_read_only_map(tmp_path):
    array = np.arange(24, dtype=np.float32).reshape(4, 2, 3)
    write(tmp_path / "new" / "a.npy", array)
    found = read_array(tmp_path / "new" / "a.npy", rows=4, ndim=3)
    assert np.array_equal(found, array)
    assert isinstance(found, np.memmap)
    assert not found.flags.writeable


def test_rows_are_counted_over_all_leading_axes_and_come_in_any_order(tmp_path):
    array = np.arange(48, dtype=np.float16).reshape(2, 3, 4, 2)
    with create_array(tmp_path / "a", (2, 3), (4, 2), "float16", "x", NPY) as rows:
        for i in (5, 0, 3, 1, 4, 2):
            rows[i] = array[divmod(i, 3)]
    assert np.array_equal(read_array(tmp_path / "a.npy", rows=3, axis=1, ndim=4), array)


def test_an_interrupted_write_leaves_the_old_array_and_no_trace(tmp_path):
    path = tmp_path / "a.npy"
    write(path, np.ones(3))
    with (
        pytest.raises(RuntimeError, match="interrupted"),
        create_array(tmp_path / "a", (5,), (), "float32", "x", NPY) as rows,
    ):
        rows[0] = 7
        raise RuntimeError("interrupted")
    assert np.array_equal(read_array(path), np.ones(3))
    assert list(tmp_path.iterdir()) == [path]


def test_an_array_that_the_disk_cannot_hold_is_refused_with_bytes_and_remedy(tmp_path):
    with (
        pytest.raises(PipelineError) as error,
        create_array(tmp_path / "a", (10**9,), (10**9,), "float32", "augment.views", NPY),
    ):
        pass
    assert "needs 4,000,000,000,000,000,000 bytes" in str(error.value)
    assert "lower augment.views" in str(error.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY", b"not an array", None])
def test_a_damaged_array_is_named_with_what_to_do(tmp_path, damage):
    path = tmp_path / "a.npy"
    if damage is None:
        path.mkdir()
    else:
        path.write_bytes(damage)
    with pytest.raises(PipelineError, match=r"a\.npy is damaged .*delete it and run `dvc repro`"):
        read_array(path)


def test_a_truncated_array_is_damaged(tmp_path):
    path = tmp_path / "a.npy"
    write(path, np.ones((100, 4)))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(PipelineError, match="is damaged"):
        read_array(path)


def test_an_array_of_pickled_objects_is_not_loaded(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(PipelineError, match="is damaged"):
        read_array(path)


def test_each_array_has_a_folder_of_its_own():
    paths = [inputs_path("test", kind) for kind in ("images", "features", "cut")]
    assert [*map(str, [*paths, views_path("features"), views_path("cut")])] == [
        "data/images/test/images",
        "data/features/test/features",
        "data/features/test/cut",
        "data/views/features",
        "data/views/cut",
    ]


def test_the_format_is_recognised_by_what_is_there_and_two_formats_are_refused(tmp_path):
    write(tmp_path / "a.npy", np.ones((3, 2)))
    assert find_array(tmp_path / "a") == tmp_path / "a.npy"
    assert read_array(tmp_path / "a", rows=3).shape == (3, 2)
    (tmp_path / "a.shards").touch()
    with pytest.raises(PipelineError) as error:
        read_array(tmp_path / "a")
    assert str(error.value) == (
        f"{tmp_path / 'a.npy'} and a.shards are the same array in two formats, and which one is "
        f"meant cannot be known; delete {tmp_path} and run `dvc repro`"
    )


def test_a_new_array_takes_the_place_of_one_in_the_other_format(tmp_path):
    (tmp_path / "a.shards").touch()
    write(tmp_path / "a.npy", np.ones((3, 1)))
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]
    place = tmp_path / "place"
    place.mkdir()
    shards = ArrayFormat("shards", 2, Shards(str(place)))
    with create_array(tmp_path / "a", (3,), (1,), "float32", "x", shards) as rows:
        for row in range(3):
            rows[row] = [row]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.shards", "place"]
    assert read_array(tmp_path / "a", shards.shards)[:].tolist() == [[0], [1], [2]]


def test_a_missing_array_says_how_to_get_it(tmp_path):
    with pytest.raises(PipelineError, match=r"a\.npy is missing; run `dvc repro` or `dvc pull`"):
        read_array(tmp_path / "a")
    with pytest.raises(PipelineError, match=r"a\.npy is missing; run `dvc repro` or `dvc pull`"):
        read_array(tmp_path / "a.npy")


def test_wrong_dimensions_are_refused(tmp_path):
    write(tmp_path / "a.npy", np.ones((3, 2)))
    with pytest.raises(PipelineError, match=r"has shape \(3, 2\), 4 dimensions were expected"):
        read_array(tmp_path / "a.npy", ndim=4)


def test_what_was_written_survives_letting_go(tmp_path):
    with create_array(tmp_path / "a", (1000,), (300,), "int32", "x", NPY) as rows:
        for row in range(1000):
            rows[row] = row
    assert np.array_equal(read_array(tmp_path / "a.npy")[:, -1], np.arange(1000))


def test_take_copies_rows_in_their_order(tmp_path):
    array = np.arange(24, dtype=np.float32).reshape(4, 2, 3)
    write(tmp_path / "a.npy", array)
    found = read_array(tmp_path / "a.npy")
    for rows in (slice(1, 3), np.array([3, 0, 0]), 2, slice(None)):
        taken = take(found, rows)
        assert np.array_equal(taken, array[rows])
        assert type(taken) is np.ndarray
        taken[...] = -1
    assert np.array_equal(found, array)


def test_arrays_in_memory_are_taken_from_and_left_alone(tmp_path):
    array = np.arange(6).reshape(3, 2)
    release_pages(array)
    taken = take(array, slice(0, 2))
    taken[:] = -1
    assert array.tolist() == [[0, 1], [2, 3], [4, 5]]


def with_header(kind: str, shape: str) -> bytes:
    header = f"{{'descr': {kind}, 'fortran_order': False, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(64)


def archived(*arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, *arrays)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (with_header("'|O'", "(2,)"), "Python objects in dtype"),
        (with_header("[('a', '|O')]", "(2,)"), "Python objects in dtype"),
        (with_header("'<U4'", "(2,)"), "holds <U4, numbers were expected"),
        (with_header("'|u1'", f"({2**70},)"), "is damaged"),
        (with_header("'|u1'", f"({2**32}, {2**32})"), "is damaged"),
        (with_header("'|u1'", "(2L,)"), "is damaged"),
        (with_header("'|u1'", "(" * 500), "is damaged"),
        (with_header("'|u1'", "()"), "has shape (), 1 dimensions were expected"),
        (archived(np.arange(2)), "is damaged"),
        (b"PK\x03\x04", "is damaged"),
    ],
)
def test_a_file_that_is_no_map_of_numbers_is_refused(tmp_path, content, words):
    (tmp_path / "array.npy").write_bytes(content)
    with pytest.raises(PipelineError) as error:
        read_array(tmp_path / "array.npy", rows=2)
    assert words in str(error.value)
    assert str(error.value).startswith(f"{tmp_path / 'array.npy'} ")


READ_IN_SLICES = """
import re, sys
from pathlib import Path
import numpy as np
from transfer.storage.arrays import read_array, take

def peak():  # not getrusage's: that begins with the peak of the process that started this one
    return int(re.search(r"VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text())[1])

array = read_array(Path(sys.argv[1]))
before, total = peak(), 0
for start in range(0, len(array), 10):
    chosen = slice(start, start + 10)
    rows = take(array, chosen) if sys.argv[2] == "take" else np.array(array[chosen])
    total += int(rows[:, ::512].sum())
assert total == array.size // 512
print((peak() - before) // 1000)
"""


@pytest.mark.skipif(
    sys.platform != "linux", reason="other systems may keep the pages, or count them otherwise"
)
def test_taking_slices_of_a_large_array_keeps_memory_flat(tmp_path):
    with create_array(tmp_path / "large", (1000,), (200_192,), "uint8", "x", NPY) as rows:
        for row in range(1000):
            rows[row] = 1

    def megabytes(how: str) -> int:
        words = [sys.executable, "-c", READ_IN_SLICES, str(tmp_path / "large.npy"), how]
        return int(
            subprocess.run(words, capture_output=True, text=True, check=True, cwd=REPOSITORY).stdout
        )

    assert megabytes("take") < 60
    assert megabytes("index") > 150, "the measure must see what is kept otherwise"


@pytest.fixture
def manifest(project) -> pd.DataFrame:
    write_params(project)
    return pd.DataFrame({"split": [*SPLITS, "train"], "label": [0, 0, 1, 1]})


def test_features_that_disagree_with_the_manifest_are_refused(project, manifest):
    write(project / "data/features/train/features.npy", np.ones((3, 1, 1, 4), dtype=np.float32))
    with pytest.raises(
        PipelineError, match=r"data/features/train/features\.npy has 3 rows, the manifest has 2"
    ):
        read_examples(manifest, "train", "features", Shards())


def test_views_that_disagree_with_the_manifest_are_refused(project, manifest):
    write(project / "data/views/cut.npy", np.ones((2, 3, 1, 1, 4), dtype=np.float32))
    with pytest.raises(PipelineError, match=r"data/views/cut\.npy has 3 rows, the manifest has 2"):
        load_views(manifest, "cut", Shards())


def test_examples_come_with_the_manifests_labels(project, manifest):
    write(
        project / "data/features/train/cut.npy", np.arange(8, dtype=np.float32).reshape(2, 1, 1, 4)
    )
    examples = read_examples(manifest, "train", "cut", Shards())
    assert examples.labels.tolist() == [0, 1]
    assert examples.inputs[1, 0, 0].tolist() == [4, 5, 6, 7]
