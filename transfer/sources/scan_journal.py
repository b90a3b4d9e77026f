"""What `split` has seen of the source's files, noted as it goes on, so that a run that was stopped
does not decode them again."""

import hashlib
import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Self

from transfer.decoding.value_ranges import ValueRange
from transfer.sources.scanned_file import ScannedFile
from transfer.sources.source_file import SourceFile

_FIELDS = tuple(field.name for field in fields(ScannedFile))


class ScanJournal:
    """A line of JSON for each batch of files that could be read, of a run that was stopped and of
    this one. A file is known by its path with its SHA-256 or, in a bucket, with the object's
    version. A context manager, which closes the journal.

    Args:
        folder: a checkpoint's, for one set of parameters and one version of the code.
    """

    def __init__(self, folder: Path):
        self._path = folder / "scanned.jsonl"
        self._known: dict[str, tuple[str, ScannedFile]] = {}
        self._file = None
        self._failed = False

    def __enter__(self) -> Self:
        with suppress(OSError):  # there is none, or it cannot be read
            for line in self._path.read_bytes().splitlines():
                with suppress(ValueError, TypeError, KeyError):  # cut off, or damaged
                    for version, said in json.loads(line):
                        self._known[said["path"]] = version, _file_of(said)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._file:
            with suppress(OSError):  # what the disk refused is written once more here
                self._file.close()

    def get(self, entry: SourceFile) -> ScannedFile | None:
        """What was seen of a file, if it is the same one."""
        version, file = self._known.get(entry.path, ("", None))
        if file is None:
            return None
        if entry.content is not None:
            same = hashlib.sha256(entry.content).hexdigest() == file.sha256
        else:
            same = bool(version) and version == entry.version
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
