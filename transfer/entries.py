"""The source's files on their way to those who decode them."""

import base64
import hashlib
from collections.abc import Iterable, Iterator

from PIL import Image

from transfer.entry import Entry
from transfer.images import read_rgb

BATCH_ENTRIES, BATCH_BYTES = 16, 2**20
# 16 x 16 pixels of colour, chroma at half the resolution: what decoders round differently.
PROBE = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAA0JCgsKCA0LCgsODg0PEyAVExISEyccHhcgLikxMC4pLSwzOko+MzZGNywtQFdBRkxOUlNSMj5aYVpQYEpRUk//"
    "2wBDAQ4ODhMREyYVFSZPNS01T09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT0//wAARCAAQABADASIAAhEBAxEB/8QA"
    "FQABAQAAAAAAAAAAAAAAAAAABgT/xAAhEAABAgUFAQAAAAAAAAAAAAABAAQCAwURIRIiMXGBYf/EABQBAQAAAAAAAAAAAAAAAAAAAAP/xAAaEQACAgMAAAAA"
    "AAAAAAAAAAABBQACERIh/9oADAMBAAIRAxEAPwCp40BBMXCN1BrDm0A95PidPZGwC33sozUJF9RJx0gXaClQB2EsXnIn/9k="
)


def batches_of_entries(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    """Lists of BATCH_ENTRIES, or of fewer that have BATCH_BYTES together, so that what is under way stays small."""
    batch, size = [], 0
    for entry in entries:
        batch.append(entry)
        size += len(entry.content or b"")
        if len(batch) == BATCH_ENTRIES or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def decoded_bits() -> str:
    """What a JPEG becomes here, hashed: other decoders may round otherwise, and then not every node may decode."""
    return hashlib.sha256(read_rgb(PROBE).resize((5, 5), Image.Resampling.LANCZOS).tobytes()).hexdigest()
