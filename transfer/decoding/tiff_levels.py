"""Smaller copies of a picture in the same TIFF: the levels of a pyramid, or overviews."""

from transfer.decoding import large_images
from transfer.decoding.tiff_tags import (
    SUB_IFDS,
    SUBFILE_TYPE,
    Tags,
    is_enlarged,
    number_of,
    numbers_of,
    read_pages,
    size_of,
    with_first_page,
)

_MOST_LEVELS = 20
_MASK = 4


def find_smaller_level(
    content: bytes, pages: list[Tags], chosen: int
) -> tuple[bytes, int, Tags] | None:
    """The largest copy of a picture that has at most MAX_PIXELS, as slide scanners and GDAL store
    them; None where the picture has no more itself, or has no such copy.

    Args:
        chosen: the number of the picture's page.

    Returns:
        the file, whose first page may be changed to one within another; the number of the copy's
        page, and its tags.
    """
    if not pages or _pixels(pages[chosen]) <= large_images.MAX_PIXELS:
        return None
    places = numbers_of(pages[chosen], SUB_IFDS)[:_MOST_LEVELS]
    found = [(number, page, None) for number, page in enumerate(pages)]
    found += [
        (0, inner[0], int(place)) for place in places if (inner := read_pages(content, int(place)))
    ]
    copies = [
        each
        for each in found
        if is_enlarged(each[1], pages[chosen])
        and not int(number_of(each[1], SUBFILE_TYPE, 0)) & _MASK
        and _pixels(each[1]) <= large_images.MAX_PIXELS
    ]
    if not copies:
        return None
    number, tags, place = max(copies, key=lambda each: _pixels(each[1]))
    return (content if place is None else with_first_page(content, place)), number, tags


def _pixels(page: Tags) -> int:
    width, height = size_of(page)
    return width * height
