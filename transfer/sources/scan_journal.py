"""A journal of the files that `split` has scanned, so that the next run does not decode them again
if this one is stopped."""

import hashlib
import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Self

import numpy as np

from transfer.decoding.value_ranges import ValueRange
from transfer.sources.scanned_file import ScannedFile, ScannedFiles
from transfer.sources.source_file import SourceFile

_FIELDS = tuple(field.name for field in fields(ScannedFile))
_VERSION_BYTES = 16


class ScanJournal:
    """A line of JSON for each batch of files that could be read, of a run that was stopped and of
    this one. A file is known by its path with its SHA-256 or, in a bucket, with the object's
    version. A context manager, which closes the journal.

    Args:
        folder: a checkpoint's, for one set of parameters and one version of the code.
    """

    def __init__(self, folder: Path):
        self._path = folder / "scanned.jsonl"
        # of a run that was stopped: the files with digests of their versions, and the sorted hashes
        # of their paths with the file of each, by which one is found in 12 bytes of memory
        self._known, self._versions = ScannedFiles(), bytearray()
        self._path_hashes, self._rows = np.empty(0, np.int64), np.empty(0, np.int32)
        self._file = None
        self._failed = False

    def __enter__(self) -> Self:
        # OSError: there is none, or it cannot be read
        with suppress(OSError), self._path.open("rb") as file:
            for line in file:
                with suppress(ValueError, TypeError, KeyError):  # cut off, or damaged
                    for version, said in json.loads(line):
                        digest = _digest(version)
                        self._known.append(_file_of(said))
                        self._versions += digest
        hashes = np.fromiter(map(hash, self._known.paths), np.int64, len(self._known))
        self._rows = np.argsort(hashes, kind="stable").astype(np.int32)
        self._path_hashes = hashes[self._rows]
        return self

    def __exit__(self, *exception: object) -> None:
        if self._file:
            with suppress(OSError):  # what the disk refused is written once more here
                self._file.close()

    def get(self, entry: SourceFile) -> ScannedFile | None:
        """What was seen of a file, if it is the same one."""
        number = hash(entry.path)
        place = int(np.searchsorted(self._path_hashes, number, side="right")) - 1
        if place < 0 or self._path_hashes[place] != number:
            return None
        row = int(self._rows[place])  # the last that was noted of the path
        file = self._known[row]
        if file.path != entry.path:
            return None
        if entry.content is not None:
            same = hashlib.sha256(entry.content).hexdigest() == file.sha256
        else:
            noted = self._versions[_VERSION_BYTES * row : _VERSION_BYTES * (row + 1)]
            same = bool(entry.version) and _digest(entry.version) == noted
        return file if same else None

    def put(self, seen: Iterable[tuple[SourceFile, ScannedFile]]) -> None:
        """Note what was seen of some files. Where the disk refuses, say so once and go on."""
        if self._failed:
            return
        line = json.dumps([(entry.version, _as_dict(file)) for entry, file in seen if file.sha256])
        try:
            if self._file is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._file = self._path.open("a", encoding="utf-8")
                self._file.write("\n")  # behind a line that was cut off
            self._file.write(line + "\n")
            self._file.flush()
        except OSError as error:
            print(
                f"{self._path.parent}: no checkpoint can be written ({error.strerror}); if this "
                "run is killed, the stage starts again"
            )
            self._failed = True


def _digest(version: str) -> bytes:
    return hashlib.blake2b(version.encode(), digest_size=_VERSION_BYTES).digest()


def _as_dict(file: ScannedFile) -> dict:
    """The fields by name; `dataclasses.asdict` copies them, which takes several times as long."""
    found = file.value_range
    said = {name: getattr(file, name) for name in _FIELDS}
    return {**said, "value_range": found and vars(found)}


def _file_of(said: dict) -> ScannedFile:
    """A ScannedFile as JSON has it."""
    if found := said["value_range"]:
        declared = found["declared"] and tuple(found["declared"])
        found = ValueRange(**{**found, "declared": declared})
    return ScannedFile(**{**said, "value_range": found, "remarks": tuple(said["remarks"])})
