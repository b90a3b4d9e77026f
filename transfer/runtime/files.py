"""Writes files atomically: a file appears complete or not at all."""

import csv
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path`; rename it to `path` if the block succeeds,
    delete it if not.

    The suffix is kept, because Keras and others choose the format by it. An OSError without a
    file name gets this one's: a full disk is noticed in writing, and only opening names the file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".tmp-{path.name}")
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        error.filename = error.filename or str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def allocate(path: Path, size: int) -> None:
    """Allocate the blocks of a file if the system can, so that a full disk raises OSError now and
    not during writing."""
    if hasattr(os, "posix_fallocate"):
        with path.open("ab") as file:
            os.posix_fallocate(file.fileno(), 0, size)


def write_weights(path: Path, model) -> None:
    """Write a Keras model's weights as `NAME.weights.h5`; equal weights give equal bytes."""
    with atomic_write(path) as temporary:
        # HDF5 that meets a full disk prints pages and fails again as it is closed.
        allocate(temporary, 4 * model.count_params())  # float32 in every precision
        model.save_weights(temporary)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file of these bytes."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, content: dict) -> None:
    """Write `content` as indented JSON; NaN and infinity are refused (ValueError),
    JSON has none."""
    with atomic_write(path) as temporary:
        temporary.write_text(
            json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n",
            encoding="utf-8",
        )


def write_table(path: Path, table) -> None:
    """Write a pandas table as `write_csv` does, without its index."""
    write_csv(path, list(table.columns), table.itertuples(index=False))


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence]) -> None:
    """Write rows under a header as UTF-8 CSV with `\\n` line ends."""
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
