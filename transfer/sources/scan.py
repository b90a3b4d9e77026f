"""Each file of the source, looked at once: its hashes, or why it cannot be used."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import imagehash
from tqdm import tqdm

from transfer.engines.base import Crashed, Engine
from transfer.sources.decoding import BadImageError, read_rgb
from transfer.sources.reader import read_source
from transfer.sources.source_file import Entry, batches_of_entries, decoded_bits, load_all


@dataclass(frozen=True)
class Examined:
    """One file, looked at: its hashes, or why it cannot be used. `split` is None unless the source
    is pre-split."""

    path: str
    problem: str | None = None
    sha256: str = ""
    perceptual: str = ""
    class_name: str = ""
    split: str | None = None


class ExamineWork:
    files = ()
    needs_gpu = False
    unused_packages = ()

    def start(self) -> "Examine":
        return Examine()


class Examine:
    uses_all_cores = False

    def __init__(self):
        self.about = decoded_bits()

    def __call__(self, entries: list[Entry]) -> list[Examined]:
        return [_look_at(entry) for entry in load_all(entries)]


def examine(source: Path | str, engine: Engine) -> tuple[list[Examined], list[str]]:
    """Read and decode every file of the source once: the files, in any order,
    and the paths of the folders."""
    files, folders = [], []
    entries = (
        entry
        for entry in tqdm(read_source(source), desc="split: reading", unit=" entries")
        if not _is_folder(entry, folders)
    )
    with engine.start(ExamineWork()) as workers:
        for batch, results in workers.map((batch, batch) for batch in batches_of_entries(entries)):
            files += [
                _crashed(entry, result) if isinstance(result, Crashed) else result
                for entry, result in zip(batch, results, strict=True)
            ]
    return files, folders


def _is_folder(entry: Entry, folders: list[str]) -> bool:
    if entry.is_folder:
        folders.append(entry.path)
        return True
    return False


def _look_at(entry: Entry) -> Examined:
    if entry.problem or entry.content is None:
        return Examined(entry.path, problem=entry.problem)
    try:
        image = read_rgb(entry.content)
    except BadImageError as problem:
        return Examined(entry.path, problem=str(problem))
    return Examined(
        entry.path,
        sha256=hashlib.sha256(entry.content).hexdigest(),
        perceptual=str(imagehash.phash(image)),
    )


def _crashed(entry: Entry, crashed: Crashed) -> Examined:
    return Examined(
        entry.path, problem=f"it ended the process that decoded it, {crashed.attempts} times"
    )
