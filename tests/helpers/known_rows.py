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

KNOWN = Path(__file__).with_suffix(".yaml")
STEP = 45  # rows of the first, the 46th, ... image
ARRAYS = [
    *(
        f"data/features/{split}{cut}.npy"
        for split in ("train", "validation", "test")
        for cut in ("", "_cut")
    ),
    *(f"data/views/train{cut}.npy" for cut in ("", "_cut")),
]
_HEADER = """\
# Of each array the MD5 in dvc.lock (file), and that of the rows of every {step}th image (rows).
# Made by `python -m tests.helpers.known_rows`, after `make run`.
"""


def main() -> None:
    lock = yaml.safe_load(Path("dvc.lock").read_text(encoding="utf-8"))["stages"]
    hashes = {out["path"]: out["md5"] for stage in lock.values() for out in stage["outs"]}
    known = {}
    for path in ARRAYS:
        if md5(Path(path).read_bytes()) != hashes[path]:
            sys.exit(f"{path} is not what dvc.lock says; run `make run` first")
        known[path] = {"file": hashes[path], "rows": hash_rows(Path(path), STEP)}
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
