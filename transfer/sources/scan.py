"""Each file of the source, looked at once: its hashes, or why it cannot be used."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import imagehash
from tqdm import tqdm

from transfer.engines.base import Crashed, Engine
from transfer.sources.decoding import BadImageError, read_rgb
from transfer.sources.reader import read_source
from transfer.sources.source_file import (
    SourceFile,
    batches_of_entries,
    decoder_fingerprint,
    load_all,
)


@dataclass(frozen=True)
class ScannedFile:
    """One file, looked at: its hashes, or why it cannot be used. `split` is None unless the source
    is pre-split."""

    path: str
    problem: str | None = None
    sha256: str = ""
    perceptual: str = ""
    class_name: str = ""
    split: str | None = None


class ScanTask:
    files = ()
    needs_gpu = False
    unused_packages = ()

    def start(self) -> "ScanFunction":
        return ScanFunction()


class ScanFunction:
    uses_all_cores = False

    def __init__(self):
        self.about = decoder_fingerprint()

    def __call__(self, entries: list[SourceFile]) -> list[ScannedFile]:
        return [_scan_file(entry) for entry in load_all(entries)]


def scan_source(source: Path | str, engine: Engine) -> tuple[list[ScannedFile], list[str]]:
    """Read and decode every file of the source once: the files, in any order,
    and the paths of the folders."""
    files, folders = [], []
    entries = (
        entry
        for entry in tqdm(read_source(source), desc="split: reading", unit=" entries")
        if not _is_folder(entry, folders)
    )
    with engine.start(ScanTask()) as workers:
        for batch, results in workers.map((batch, batch) for batch in batches_of_entries(entries)):
            files += [
                _crashed(entry, result) if isinstance(result, Crashed) else result
                for entry, result in zip(batch, results, strict=True)
            ]
    return files, folders


def _is_folder(entry: SourceFile, folders: list[str]) -> bool:
    if entry.is_folder:
        folders.append(entry.path)
        return True
    return False


def _scan_file(entry: SourceFile) -> ScannedFile:
    if entry.problem or entry.content is None:
        return ScannedFile(entry.path, problem=entry.problem)
    try:
        image = read_rgb(entry.content)
    except BadImageError as problem:
        return ScannedFile(entry.path, problem=str(problem))
    return ScannedFile(
        entry.path,
        sha256=hashlib.sha256(entry.content).hexdigest(),
        perceptual=str(imagehash.phash(image)),
    )


def _crashed(entry: SourceFile, crashed: Crashed) -> ScannedFile:
    return ScannedFile(
        entry.path, problem=f"it ended the process that decoded it, {crashed.attempts} times"
    )
