"""Data sets that are packed into files of another kind than images: what they are by their names,
and what a person can do."""

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

_FILES = (
    "write each image into a folder of its class, as a PNG say (docs/your-data.md shows how), or "
    "all into one folder with a table of their labels"
)
_HEAD_BYTES, _LEAST_PIXELS = 2**17, 64
# What the path of a file matches, and what it is.
_KINDS = tuple(
    (re.compile(pattern, re.IGNORECASE), what, remedy)
    for pattern, what, remedy in (
        (r"(^|/)(data_batch_\d+|test_batch)(\.bin)?$", "CIFAR's batches", _FILES),
        (r"idx\d-ubyte(\.gz)?$", "MNIST's files of arrays", _FILES),
        (r"\.(tfrecords?|tfrec)(-\d+-of-\d+)?(\.gz)?$", "TensorFlow's records", _FILES),
        (r"(^|/)data\.mdb$", "an LMDB database", _FILES),
        (r"\.arrow$", "Arrow files of Hugging Face's datasets", _FILES),
        (r"\.parquet$", "Parquet files, with the images in them if none lie beside", _FILES),
        (r"\.(npz|npy)$", "NumPy's arrays", _FILES),
        (r"\.(h5|hdf5|mat)$", "arrays of HDF5 or MATLAB", _FILES),
        (r"\.(pkl|pickle|pt|pth)$", "Python's pickles, which may run programs", _FILES),
        (r"\.(rec|idx)$", "MXNet's records", _FILES),
        (r"\.(zip|tar|tgz|tar\.\w+|7z|rar)$", "archives inside the source", "unpack them"),
    )
)


def describe_packed(paths: Iterable[str]) -> str:
    """A sentence on what files without an image among them are by their names, and what to do;
    empty if no name says it."""
    found: dict[str, list[str]] = {}
    for path in paths:
        for pattern, what, remedy in _KINDS:
            if pattern.search(path):
                found.setdefault(f"look like {what}, and are not read: {remedy}", []).append(path)
                break
    if not found:
        return ""
    what, named = max(found.items(), key=lambda item: len(item[1]))
    return f"Files such as {PurePosixPath(named[0]).name} {what}"


def describe_pixels(path: str, content: bytes | None) -> str:
    """A sentence that a CSV has pixels in its cells, as MNIST's and FER2013's have, and what to do;
    empty if it has none."""
    if not content or not path.lower().endswith((".csv", ".tsv")):
        return ""
    lines = content[:_HEAD_BYTES].decode("latin-1").splitlines()[:2]
    columns = [len(re.split(r"[,;\t]", line)) for line in lines]
    numbers = [len(re.findall(r"\d+ ", line)) for line in lines]
    if len(lines) < 2 or max(min(columns), numbers[1]) < _LEAST_PIXELS:
        return ""
    return (
        f"{path} has the pixels of an image in each line, and no paths: write each into a folder "
        "of its class (docs/your-data.md shows how)"
    )


def describe_shards(paths: Iterable[str]) -> str:
    """A sentence that an archive is one of WebDataset's shards, and what to do; empty if it is
    none."""
    paths = [*paths]
    suffixes: dict[str, set[str]] = {}
    if not any(path.lower().endswith(".cls") for path in paths):
        return ""  # most sources, of which nothing need be remembered
    for path in paths:
        name, _, suffix = path.partition(".")
        suffixes.setdefault(name, set()).add(suffix.lower())
    labelled = sum("cls" in found and len(found) > 1 for found in suffixes.values())
    if not labelled or 2 * labelled < len(suffixes):
        return ""
    return (
        "The .cls files named as the pictures look like WebDataset's labels: name the archive "
        "itself by split.labels; if there are several shards, unpack them into one folder first, "
        "and name that"
    )
