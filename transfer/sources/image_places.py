"""Where the images of a source are, for workers that read them by themselves: in a bucket, in a
folder that all machines see, or in an archive that they see."""

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from transfer.runtime.errors import PipelineError
from transfer.sources.archive_parts import ArchivePart
from transfer.sources.bucket import NAMED
from transfer.sources.reader import read_source
from transfer.sources.source_file import SourceFile, size_problem
from transfer.sources.verified_images import check_none_missing
from transfer.storage.object_store import ObjectStore, is_url


class UnseenSourceError(PipelineError):
    """A node of the cluster does not see the folder or the archive of the images."""


class ImagePlaces(Protocol):
    """A source whose files any process can read by their paths. It can be pickled."""

    source: str  # for messages

    def check_seen(self) -> None:
        """Raises UnseenSourceError if this machine does not see the source."""

    def files(self, paths: Sequence[str], parts: np.ndarray | None) -> list[SourceFile]:
        """The files at some paths, whose content is read when they are asked to `load`.

        Args:
            parts: the places of these files in an archive, int64 (n, 3), as `find_places` gives
                them; None of other sources.
        """


@dataclass(frozen=True)
class BucketImages:
    """source: a URL."""

    source: str

    def check_seen(self) -> None:
        """Raises PipelineError if there is no such bucket, or it does not answer."""
        ObjectStore(self.source, NAMED).check_exists()

    def files(self, paths: Sequence[str], parts: np.ndarray | None) -> list[SourceFile]:
        """As `ImagePlaces` says."""
        store = ObjectStore(self.source, NAMED)
        return [SourceFile(path, store=store) for path in paths]


@dataclass(frozen=True)
class FolderImages:
    """source: an absolute path. probe: the path in it of a file that must be there.
    follow_links: as in `read_source`."""

    source: str
    probe: str
    follow_links: bool

    def check_seen(self) -> None:
        """As `ImagePlaces` says; a folder that lacks the file counts as one that is not mounted."""
        if not Path(self.source, self.probe).is_file():
            raise UnseenSourceError(
                f"{NAMED} = {self.source!r}: {platform.node()} does not see this folder"
            )

    def files(self, paths: Sequence[str], parts: np.ndarray | None) -> list[SourceFile]:
        """As `ImagePlaces` says."""
        return [SourceFile(path, store=self) for path in paths]

    def read(self, path: str) -> bytes:
        """The content of a file.

        Raises:
            OSError: it is not there, cannot be read, is too large, or a link leads out of the
                folder.
        """
        file, root = Path(self.source, path), Path(self.source)
        try:
            if not self.follow_links and not file.resolve().is_relative_to(root.resolve()):
                raise OSError("a link that leaves the folder")
            if problem := size_problem(file.stat().st_size):
                raise OSError(problem)
            return file.read_bytes()
        except FileNotFoundError:
            raise OSError(f"there is no such file on {platform.node()}") from None


@dataclass(frozen=True)
class ArchiveImages:
    """source: the absolute path of a zip or of a tar that is not compressed. size: its bytes."""

    source: str
    size: int

    def check_seen(self) -> None:
        """As `ImagePlaces` says; an archive of another size counts as another archive."""
        archive = Path(self.source)
        if not archive.is_file() or archive.stat().st_size != self.size:
            raise UnseenSourceError(
                f"{NAMED} = {self.source!r}: {platform.node()} does not see this archive of "
                f"{self.size:,} bytes"
            )

    def files(self, paths: Sequence[str], parts: np.ndarray | None) -> list[SourceFile]:
        """As `ImagePlaces` says."""
        archive = Path(self.source)
        return [
            SourceFile(path, store=ArchivePart(archive, *part))
            for path, part in zip(paths, parts.tolist(), strict=True)
        ]


def find_places(
    source: Path | str, paths: Sequence[str], *, follow_links: bool
) -> tuple[ImagePlaces, np.ndarray | None] | None:
    """Where workers find the images at some paths, and for an archive the offset, the bytes and the
    method of each image, int64 (n, 3), which take 24 bytes per image here.

    None if only one process can read the source, from its beginning to its end: a compressed tar,
    or a zip with rare methods of compression.

    Args:
        paths: at least one, each once.
        follow_links: as in `read_source`.

    Raises:
        PipelineError: the source is gone, cannot be opened or is damaged; or images are not in the
            archive any more.
    """
    if is_url(str(source)):
        return BucketImages(str(source)), None
    absolute = Path(source).absolute()
    if absolute.is_dir():
        return FolderImages(str(absolute), paths[0], follow_links), None
    rows = {path: row for row, path in enumerate(paths)}
    parts = np.full((len(paths), 3), -1, np.int64)
    for file in read_source(source, rows, later=True):
        if file.problem or file.is_folder:
            continue
        if not isinstance(file.store, ArchivePart):
            return None
        parts[rows.pop(file.path)] = file.store.offset, file.store.size, file.store.method
    check_none_missing(source, rows)
    return ArchiveImages(str(absolute), absolute.stat().st_size), parts
