"""One file of a source: what its path may be, how it is read, and batches of such files for those
who decode them."""

import base64
import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Protocol, Self

from PIL import Image

from transfer.decoding.rgb import read_rgb

MAX_FILE_BYTES = 256 * 2**20
READERS = 8  # of a batch: a store takes its time for each object, however small
# What the name of an image ends with, that of some which are not read included.
IMAGE_NAME = re.compile(
    r"\.(jpe?g|jpe|jfif|png|gif|bmp|webp|tiff?|avif|jp2|j2k|p[pgbnf]m|tga|hei[cf]|hif|ico|pcx|qoi"
    r"|sgi|dcm|jxl)$",
    re.IGNORECASE,
)


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# What systems and programs leave beside people's files, in lower case.
_CLUTTER = {
    *_names("__macosx thumbs.db ehthumbs.db ehthumbs_vista.db desktop.ini @eadir #recycle"),
    *_names("#snapshot $recycle.bin recycler lost+found found.000 __pycache__ .ds_store"),
    *_names(".localized .apdisk .appledouble .appledb .appledesktop .directory .trashes"),
    *_names(".fseventsd .spotlight-v100 .temporaryitems .documentrevisions-v100"),
    *_names(".volumeicon.icns .thumbnails .@__thumb .picasa.ini .picasaoriginals .nomedia"),
    *_names(".ipynb_checkpoints .svn .hg .cache .idea .vscode .stfolder .stversions"),
    *("system volume information", "network trash folder", "temporary items", "icon\r"),
}
_CLUTTER_STARTS = _names("._ .git .dvc .trash .dropbox .syncthing .nfs .fuse_hidden ~$")
# Text, tables and the like beside images: passed over, if they are no images by their bytes.
_SIDECARS = _names(
    ":zone.identifier :afp_afpinfo :afp_resource "  # a file's other streams on NTFS
    ".json .jsonl .ndjson .xml .xmp .txt .csv .tsv .parquet .yaml .yml .md .rst .html .htm .log "
    ".ini .cfg .toml .db .sqlite .aae .url .lnk .py .ipynb .xlsx .xls .ods .doc .docx .rtf .md5 "
    ".sha256 .mat .pkl .names .lst .dvc .sh .bat .bib .tab .manifest .cache .h5 .hdf5 .keras .pt "
    ".pth .onnx .tflite .gdoc .gsheet .m .r .rmd .c .cpp .java .js .css .sql .pptx .ppt .tfrec "
    ".tfrecord .tfrecords .csv.gz .tsv.gz .json.gz .jsonl.gz"
)
_SIDECAR_NAMES = _names(
    "license licence readme copying checksums md5sums sha256sums notes makefile authors changelog "
    "citation version manifest"
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
BATCH_ENTRIES, BATCH_BYTES = 16, 2**20
SCAN_ENTRIES = 256  # of a batch whose results are small, at most
# 16 x 16 pixels of colour, chroma at half the resolution: what decoders round differently.
PROBE = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAA0JCgsKCA0LCgsODg0PEyAVExISEyccHhcgLikxMC4pLSwzOko+MzZGNywtQFdBRkxOUlNSMj5aYVpQYEpRUk//"
    "2wBDAQ4ODhMREyYVFSZPNS01T09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT0//wAARCAAQABADASIAAhEBAxEB/8QA"
    "FQABAQAAAAAAAAAAAAAAAAAABgT/xAAhEAABAgUFAQAAAAAAAAAAAAABAAQCAwURIRIiMXGBYf/EABQBAQAAAAAAAAAAAAAAAAAAAAP/xAAaEQACAgMAAAAA"
    "AAAAAAAAAAABBQACERIh/9oADAMBAAIRAxEAPwCp40BBMXCN1BrDm0A95PidPZGwC33sozUJF9RJx0gXaClQB2EsXnIn/9k="
)


class FileStore(Protocol):
    """Where files lie that are read later, for example an `ObjectStore`. It can be pickled."""

    def read(self, path: str) -> bytes:
        """The content of the file at a path; FileNotFoundError if it is gone."""


@dataclass(frozen=True)
class SourceFile:
    """One file of a source.

    path: POSIX path inside the source; a folder's ends in `/`.
    content: the file's bytes; None for a folder, for a file with a problem and for one that `load`
        has yet to read.
    problem: why it cannot be taken, or None.
    store: where it lies, if its content was not read yet.
    version: what changes when an object that was not read yet does; empty where nothing is known.
    """

    path: str
    content: bytes | None = None
    problem: str | None = None
    store: FileStore | None = None
    version: str = ""

    @property
    def is_folder(self) -> bool:
        return self.path.endswith("/")

    def load(self) -> Self:
        """This entry with its content, or with the problem that it is gone. Any thread may ask, and
        any process: it can be pickled."""
        if self.store is None:
            return self
        try:
            return SourceFile(self.path, self.store.read(self.path))
        except FileNotFoundError:
            return SourceFile(self.path, problem="gone since it was listed")
        except OSError as error:
            return SourceFile(self.path, problem=f"cannot be read: {error.strerror or error}")


def load_all(entries: Sequence[SourceFile]) -> list[SourceFile]:
    """Each with its content, in their order."""
    if all(entry.store is None for entry in entries):
        return list(entries)
    with ThreadPoolExecutor(READERS) as pool:
        return list(pool.map(SourceFile.load, entries))


def tidy(path: str) -> str:
    """Drop `./` and doubled slashes, keep a leading `/` and `..` for `name_problem` to see."""
    return str(PurePosixPath(path))


def clutter_of(path: str) -> str | None:
    """The path, or the folder that it lies in, that makes it clutter: hidden, or left by a desktop,
    a NAS or a program; or `.`, the source itself, which some archives list. None if nothing does.
    """
    if path == ".":
        return path
    if climbs(path):
        return None
    parts = path.split("/")
    for number, part in enumerate(parts, 1):
        if part.startswith(".") or is_known_clutter(part):
            return "/".join(parts[:number])
    return None


def is_known_clutter(name: str) -> bool:
    """Whether systems or programs leave files or folders of this name."""
    name = name.lower()
    return name in _CLUTTER or name.startswith(_CLUTTER_STARTS)


def is_unknown_hidden(path: str) -> bool:
    """Whether a name begins with a dot that no system or program is known to leave, so that it may
    be a person's."""
    name = path.rsplit("/", 1)[-1]
    return name.startswith(".") and path != "." and not is_known_clutter(name)


def is_sidecar(name: str) -> bool:
    """Whether a file is text, a table or the like by its name, as they lie beside images."""
    name = name.lower().rsplit("/", 1)[-1]
    return name.endswith(_SIDECARS) or name in _SIDECAR_NAMES


def climbs(path: str) -> bool:
    path = path.replace("\\", "/")
    return path.startswith("/") or ".." in path.split("/") or path[1:3] == ":/"


def name_problem(path: str) -> str | None:
    if climbs(path):
        return "the path climbs out of the source"
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return "the name is not UTF-8; rename it"
    if _CONTROL.search(path):
        return "the name holds a control character, such as a line break; rename it"
    return None


def printable(path: str) -> str:
    """The path with undecodable bytes and control characters as `\\xNN`,
    fit for a line of a UTF-8 file."""
    path = path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return _CONTROL.sub(lambda character: f"\\x{ord(character[0]):02x}", path)


def size_problem(size: int) -> str | None:
    return (
        f"{size:,} bytes, more than the {MAX_FILE_BYTES:,} that one image may have; shrink it"
        if size > MAX_FILE_BYTES
        else None
    )


def batches_of_entries(
    entries: Iterable[SourceFile], most: int = BATCH_ENTRIES
) -> Iterator[list[SourceFile]]:
    """Lists of BATCH_ENTRIES, or of fewer that have BATCH_BYTES together, so that what is under way
    stays small.

    Args:
        most: where it is more, lists grow to so many as entries come, to a sixty-fourth of them: of
            many small files a list costs more than its files, and of few all workers want some.
    """
    batch, size = [], 0
    for taken, entry in enumerate(entries):
        batch.append(entry)
        size += len(entry.content or b"")
        if len(batch) >= max(BATCH_ENTRIES, min(most, taken // 64)) or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def decoder_fingerprint() -> str:
    """What a JPEG becomes here, hashed: other decoders may round otherwise, and then not every node
    may decode."""
    return hashlib.sha256(
        read_rgb(PROBE).resize((5, 5), Image.Resampling.LANCZOS).tobytes()
    ).hexdigest()
