"""Hashes of some rows of the committed arrays, so that a test need not compute all of an array to
know that it would be the same.

    python -m tests.helpers.known_rows

writes tests/helpers/known_rows.yaml after `make run`, on a machine where the arrays in data/ are
those that dvc.lock names.
"""

import hashlib
import sys
from pathlib import Path

import numpy as np
import yaml

from transfer.runtime.dvc_files import locked_stages, output_checksum

KNOWN = Path(__file__).with_suffix(".yaml")
STEP = 45  # rows of the first, the 46th, ... image
ARRAYS = [
    *(
        f"data/features/{split}/{kind}.npy"
        for split in ("train", "validation", "test")
        for kind in ("features", "cut")
    ),
    *(f"data/views/{kind}.npy" for kind in ("features", "cut")),
]
_HEADER = """\
# Of each array the MD5 of its file (file), and that of the rows of every {step}th image (rows).
# Made by `python -m tests.helpers.known_rows`, after `make run`.
"""


def main() -> None:
    hashes = {
        out["path"]: out["md5"] for stage in locked_stages().values() for out in stage["outs"]
    }
    known = {}
    for path in map(Path, ARRAYS):
        if output_checksum(path.parent) != hashes[path.parent.as_posix()]:
            sys.exit(f"{path.parent} is not what dvc.lock says; run `make run` first")
        known[path.as_posix()] = {"file": md5(path.read_bytes()), "rows": hash_rows(path, STEP)}
    KNOWN.write_text(
        _HEADER.format(step=STEP) + yaml.safe_dump(known, sort_keys=False), encoding="utf-8"
    )


def hash_rows(path: Path, step: int = 1) -> str:
    """MD5 of the rows of every `step`th image:
    of an array (N, ...), or (V, N, ...) in data/views."""
    array = np.load(path, mmap_mode="r")
    chosen = array[:, ::step] if path.parent.name == "views" else array[::step]
    return md5(np.ascontiguousarray(chosen).tobytes())


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


if __name__ == "__main__":
    main()
