"""Where the pictures of a HEIC or AVIF file lie, apart from its metadata."""

import struct
from collections.abc import Iterator

_MOST_ITEMS = 10_000
_METADATA = (b"Exif", b"mime", b"uri ")


def end_of_pictures(content: bytes) -> int:
    """Where the last picture of an ISO media file ends, within the file: by its table of items, or,
    where that is missing or makes no sense, the last box by its own size."""
    end = _end_of_items(content)
    if end is None:
        end = max((end for _, _, end in _boxes(content, 0, len(content))), default=0)
    return min(end, len(content))


def _end_of_items(content: bytes) -> int | None:
    try:
        meta = next(place for name, *place in _boxes(content, 0, len(content)) if name == b"meta")
        parts = {name: place for name, *place in _boxes(content, meta[0] + 4, meta[1])}
        kinds = _kinds(content, *parts[b"iinf"])
        places = list(_places(content, parts[b"iloc"][0]))
    except (StopIteration, KeyError, IndexError, struct.error):
        return None
    ends = [end for number, end in places if kinds.get(number) not in _METADATA]
    return max(ends, default=None)


def _boxes(content: bytes, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and end of what is in each box between two places."""
    while at + 8 <= end:
        size, name = struct.unpack_from(">I4s", content, at)
        start = at + 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", content, start)
            start += 8
        if size == 0 and name.strip(b"\0"):  # to the end; zeros alone are no box
            size = end - at
        if at + size < start:
            return
        yield name, start, min(at + size, end)
        at += size


def _kinds(content: bytes, start: int, end: int) -> dict[int, bytes]:
    """The kind of each item, by its number."""
    kinds = {}
    for name, at, _ in _boxes(content, start + (6 if content[start] == 0 else 8), end):
        if name == b"infe" and content[at] in (2, 3):
            code = ">HH4s" if content[at] == 2 else ">IH4s"
            number, _, kind = struct.unpack_from(code, content, at + 4)
            kinds[number] = kind
    return kinds


def _places(content: bytes, at: int) -> Iterator[tuple[int, int]]:
    """Number and end of each item that lies in the file."""
    version, sizes = content[at], content[at + 4 : at + 6]
    offset_size, length_size, base_size = sizes[0] >> 4, sizes[0] & 15, sizes[1] >> 4
    index_size = sizes[1] & 15 if version else 0
    wide = 4 if version == 2 else 2
    at += 6

    def take(size: int) -> int:
        nonlocal at
        if at + size > len(content):
            raise struct.error("the table of items is cut off")
        at += size
        return int.from_bytes(content[at - size : at], "big")

    count = take(wide)
    if count > _MOST_ITEMS or not offset_size:
        raise struct.error("a table of items that no camera writes")
    for _ in range(count):
        number = take(wide)
        method = take(2) & 15 if version else 0
        take(2)  # which file it is in
        base = take(base_size)
        for _ in range(take(2)):
            take(index_size)
            end = base + take(offset_size) + take(length_size)
            if method == 0:
                yield number, end
