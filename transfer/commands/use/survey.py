"""What a source of images has in it: how many files of which formats, and what is none.

Headers alone are read here; `split` decodes each image.
"""

import contextlib
import io
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath

from PIL import Image

from transfer.decoding.rgb import FORMATS, BadImageError, examine
from transfer.decoding.tiff_tags import is_tiff
from transfer.labels.listing import count_of, first_few
from transfer.labels.packed_sets import describe_packed, describe_pixels
from transfer.runtime.errors import PipelineError
from transfer.sources.scan import WHITE
from transfer.sources.scanned_file import ScannedFile, companions
from transfer.sources.source_file import IMAGE_NAME, SourceFile, is_sidecar

first_five = partial(first_few, shown=5)  # of a list in a sentence of `use`


@dataclass(frozen=True)
class Survey:
    """files: every file, with a problem if it is no image by its first bytes (by its suffix in a
    bucket), but for text, tables and the like, which lie `beside` the images. folders: their paths.
    formats: how many images there are of each. bytes: of all files that were read."""

    files: list[ScannedFile]
    folders: list[str]
    formats: Counter[str]
    bytes: int
    beside: list[str]

    @property
    def images(self) -> list[str]:
        """The paths of the images, sorted."""
        return sorted(file.path for file in self.files if not file.problem)

    @property
    def others(self) -> list[str]:
        """The paths of what is no image, sorted."""
        return sorted(file.path for file in self.files if file.problem)


def survey(entries: Iterable[SourceFile], source: str) -> Survey:
    """Look at each file of a source.

    Raises:
        PipelineError: there is no file, or none is an image.
    """
    files, folders, beside, formats, size, pixels = [], [], [], Counter(), 0, ""
    for entry in entries:
        if entry.is_folder:
            folders.append(entry.path)
            continue
        size += len(entry.content or b"")
        form, problem = _format_of(entry)
        if form:
            formats[form] += 1
        if problem and is_sidecar(entry.path):
            beside.append(entry.path)
            pixels = pixels or describe_pixels(entry.path, entry.content)
        else:
            files.append(ScannedFile(entry.path, problem=problem))
    called_alike = companions(
        (file.path for file in files if not file.problem),
        (file.path for file in files if file.problem),
    )
    beside += called_alike
    files = [file for file in files if file.path not in called_alike]
    if not formats:
        raise PipelineError(f"{source!r} holds {_without_images(files, beside, pixels)}")
    return Survey(files, folders, formats, size, sorted(beside))


def _without_images(files: list[ScannedFile], beside: list[str], pixels: str) -> str:
    """What is in a source without images, and what to do about it.

    Args:
        pixels: what `describe_pixels` says of tables of pixels; empty if there are none.
    """
    names = [*(file.path for file in files), *beside]
    if not names:
        return "no files; name the folder or archive that has the images"
    suffixes = Counter(PurePosixPath(name).suffix or "no suffix" for name in names)
    found = ", ".join(f"{suffix} ({count})" for suffix, count in suffixes.most_common(4))
    reason = f"; {files[0].path}: {files[0].problem}" if files else ""
    if "climbs out" in reason:
        reason += ". Pack it again from inside its folder: tar -cf photos.tar -C FOLDER ."
    packed = pixels or describe_packed(names)
    hint = f". {packed}" if packed else reason
    return (
        f"no image, only {count_of(len(names), 'file')}: {found}"
        f"{hint or '; name the folder or archive that has the images'}"
    )


def _format_of(entry: SourceFile) -> tuple[str | None, str | None]:
    """The image's format, or why it is none."""
    if entry.problem:
        return None, entry.problem
    if entry.content is None:  # an object in a bucket, which is not fetched for this
        suffix = IMAGE_NAME.search(entry.path)
        return (suffix[1].upper(), None) if suffix else (None, "not an image by its suffix")
    try:
        return _read_format(entry.content) or "another format", None
    except BadImageError as problem:
        return None, str(problem)


def _read_format(content: bytes) -> str | None:
    """The format by the header; by decoding the image where the header alone does not tell.

    Raises:
        BadImageError: it is no image that can be used.
    """
    with contextlib.suppress(Exception), Image.open(io.BytesIO(content), formats=FORMATS) as image:
        return image.format  # Pillow's readers raise OSError, ValueError, struct.error and more
    examine(content, WHITE)
    return "TIFF" if is_tiff(content) else None
