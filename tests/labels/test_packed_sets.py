"""Data sets that are no folders of images are refused with what they are and what to do."""

import pytest

from transfer.labels.layout import find_layout
from transfer.labels.packed_sets import describe_packed, describe_pixels
from transfer.runtime.errors import PipelineError

PACKED = {
    "CIFAR's batches": ["cifar-10-batches-py/data_batch_1", "cifar-10-batches-py/batches.meta"],
    "CIFAR's batches, ": ["cifar-10-batches-bin/data_batch_1.bin"],
    "MNIST's files": ["train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"],
    "TensorFlow's records": ["train-00000-of-00002.tfrecord", "train.tfrecord-00001-of-00002"],
    "an LMDB database": ["data.mdb", "lock.mdb"],
    "Arrow files": ["data-00000-of-00001.arrow", "state.json", "dataset_info.json"],
    "Parquet files, with the images": ["data/train-00000-of-00001.parquet", "README.md"],
    "NumPy's arrays": ["data.npz"],
    "arrays of HDF5": ["train_32x32.mat", "x.h5"],
    "Python's pickles": ["train.pkl"],
    "archives inside the source": ["train.zip", "test.tar.gz", "labels.csv"],
}


@pytest.mark.parametrize("kind", PACKED)
def test_a_packed_set_is_named(kind):
    assert f"look like {kind.rstrip(' ,')}" in describe_packed(PACKED[kind])
    with pytest.raises(PipelineError, match="look like .*, and are not read: "):
        find_layout(PACKED[kind], "set")


def test_a_shard_of_webdataset_is_named():
    paths = [f"{i:06}.{suffix}" for i in range(4) for suffix in ("jpg", "cls")]
    with pytest.raises(PipelineError, match=r"The \.cls files .* name the archive itself"):
        find_layout(paths, "set")


def test_files_beside_images_are_not_spoken_of():
    assert describe_packed(["cat/1.jpg", "notes.txt"]) == ""
    with pytest.raises(PipelineError) as error:
        find_layout(["1.jpg", "2.jpg", "model.h5", "backup.zip"], "set")
    assert "not read" not in str(error.value)


def test_tables_of_pixels_are_told_from_tables_of_paths():
    mnist = ",".join(["label", *(f"pixel{i}" for i in range(784))]) + "\n" + ",".join(["0"] * 785)
    faces = "emotion,pixels,Usage\n0," + " ".join(["70"] * 2304) + ",Training\n"
    for text in (mnist, faces):
        assert "train.csv has the pixels of an image in each line, and no paths" in (
            describe_pixels("train.csv", text.encode())
        )
    assert describe_pixels("train.csv", b"path,label\na.jpg,cat\n") == ""
    assert describe_pixels("train.txt", mnist.encode()) == ""
