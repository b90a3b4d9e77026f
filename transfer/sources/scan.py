"""Each file of the source, looked at once: its hashes, or why it cannot be used."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from itertools import compress
from pathlib import Path

import imagehash

from transfer.decoding.rgb import BadImageError, examine, memory_for
from transfer.engines.base import Crashed, Engine
from transfer.runtime.progress import progress_bar
from transfer.sources.reader import read_source
from transfer.sources.scan_journal import ScanJournal
from transfer.sources.scanned_file import ScannedFile, ScannedFiles, companions
from transfer.sources.source_file import (
    SCAN_ENTRIES,
    SourceFile,
    batches_of_entries,
    decoder_fingerprint,
    is_sidecar,
    load_all,
)

WHITE = (255, 255, 255)


@dataclass(frozen=True)
class ScanTask:
    """background: RGB that transparent pixels are laid over."""

    background: tuple[int, int, int]
    files = ()
    needs_gpu = False
    unused_packages = ("pandas", "pyarrow")  # with which the stage writes its tables
    overlaps = False

    def start(self) -> "ScanFunction":
        return ScanFunction(self.background)


class ScanFunction:
    """A ScannedFile of each entry."""

    uses_all_cores = False

    def __init__(self, background: tuple[int, int, int]):
        self._background = background
        self.about = decoder_fingerprint()

    def __call__(self, entries: list[SourceFile]) -> list[ScannedFile]:
        return [_scan_file(entry, self._background) for entry in load_all(entries)]


def scan_source(
    source: Path | str,
    engine: Engine,
    *,
    background: tuple[int, int, int] = WHITE,
    follow_links: bool = False,
    on_clutter: Callable[[str], None] = lambda path: None,
    on_remark: Callable[[str], None] = lambda sentence: None,
    journal: ScanJournal | None = None,
) -> tuple[ScannedFiles, list[str]]:
    """Read and decode every file of the source once: the files, in any order, and the paths of the
    folders.

    Text, tables and the like that lie beside images are not among the files, nor are RAW files and
    films that are called as an image beside them.

    Args:
        background: RGB that transparent pixels are laid over.
        follow_links, on_clutter, on_remark: as in `read_source`; text and tables count as clutter
            here.
        journal: has what a run that was stopped has seen, and notes what this one sees.
    """
    files, folders = ScannedFiles(), []
    found = read_source(
        source, follow_links=follow_links, on_clutter=on_clutter, on_remark=on_remark
    )
    # the bar ends before an error is printed
    with (
        progress_bar(found, desc="split: reading", unit=" entries") as progress,
        engine.start(ScanTask(background)) as workers,
    ):
        entries = (
            entry
            for entry in progress
            if not _is_folder(entry, folders) and not _is_known(entry, files, journal)
        )
        batches = batches_of_entries(entries, SCAN_ENTRIES)
        for batch, results in workers.map((batch, batch) for batch in batches):
            if journal is not None:
                journal.put(
                    (entry, result)
                    for entry, result in zip(batch, results, strict=True)
                    if not isinstance(result, Crashed)
                )
            for entry, result in zip(batch, results, strict=True):
                file = _crashed(entry, result) if isinstance(result, Crashed) else result
                if file.problem and is_sidecar(file.path):
                    on_clutter(file.path)
                else:
                    files.append(file)
    has_problem = files.has_problem
    beside = companions(compress(files.paths, ~has_problem), compress(files.paths, has_problem))
    for path in sorted(beside):
        on_clutter(path)
    return files.without(beside), folders


def _is_folder(entry: SourceFile, folders: list[str]) -> bool:
    if entry.is_folder:
        folders.append(entry.path)
        return True
    return False


def _is_known(entry: SourceFile, files: ScannedFiles, journal: ScanJournal | None) -> bool:
    known = journal.get(entry) if journal is not None else None
    if known is not None:
        files.append(known)
    return known is not None


def _scan_file(entry: SourceFile, background: tuple[int, int, int]) -> ScannedFile:
    if entry.problem or entry.content is None:
        return ScannedFile(entry.path, problem=entry.problem)
    try:
        with memory_for(entry.content):
            examined = examine(entry.content, background)
            perceptual = str(imagehash.phash(examined.image))
    except BadImageError as problem:
        return ScannedFile(entry.path, problem=str(problem))
    return ScannedFile(
        entry.path,
        sha256=hashlib.sha256(entry.content).hexdigest(),
        perceptual=perceptual,
        value_range=examined.value_range,
        tiff_alpha=examined.tiff_alpha,
        alpha=examined.alpha,
        remarks=examined.remarks,
    )


def _crashed(entry: SourceFile, crashed: Crashed) -> ScannedFile:
    return ScannedFile(
        entry.path, problem=f"it ended the process that decoded it, {crashed.attempts} times"
    )
