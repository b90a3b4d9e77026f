"""Reads and decodes each file of the source once: its hashes, or why it cannot be used."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
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
    journal: ScanJournal,
    *,
    background: tuple[int, int, int],
    follow_links: bool,
    on_clutter: Callable[[str], None],
    on_remark: Callable[[str], None],
) -> tuple[ScannedFiles, list[str]]:
    """Read and decode every file of the source once: the files, in any order, and the paths of the
    folders.

    Text, tables and the like that lie beside images are not among the files, nor are RAW files and
    films that are called as an image beside them.

    Args:
        journal: has what a run that was stopped has seen, and notes what this one sees.
        background: RGB that transparent pixels are laid over.
        follow_links, on_clutter, on_remark: as in `read_source`; text and tables count as clutter
            here.
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
        unknown = _unknown_files(progress, journal, files, folders)
        batches = batches_of_entries(unknown, SCAN_ENTRIES)
        for batch, results in workers.map((batch, batch) for batch in batches):
            pairs = list(zip(batch, results, strict=True))
            journal.put(pair for pair in pairs if not isinstance(pair[1], Crashed))
            for entry, result in pairs:
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


def _unknown_files(
    entries: Iterable[SourceFile], journal: ScanJournal, files: ScannedFiles, folders: list[str]
) -> Iterator[SourceFile]:
    """The files that are to be decoded. Adds those that the journal knows to `files`, and the paths
    of folders to `folders`."""
    for entry in entries:
        if entry.is_folder:
            folders.append(entry.path)
        elif (known := journal.get(entry)) is not None:
            files.append(known)
        else:
            yield entry


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
