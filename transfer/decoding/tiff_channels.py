"""Channels of a microscope that a TIFF stores as pages, one grey picture each, as OME and ImageJ
write them."""

import re

from transfer.decoding.bad_image import BadImageError
from transfer.decoding.tiff_tags import (
    DESCRIPTION,
    HEIGHT,
    SAMPLES,
    WIDTH,
    Tags,
    number_of,
)

_PIXELS = re.compile(r"<(?:\w+:)?Pixels\b[^>]*>")
_ATTRIBUTE = re.compile(r"\b(SizeC|SizeZ|SizeT|DimensionOrder)=[\"'](\w+)[\"']")
_COLOURS = re.compile(r"SamplesPerPixel=[\"'](?!1[\"'])\d")
_IMAGEJ = re.compile(r"^ImageJ=.*?^channels=(\d{1,9})\s*$", re.DOTALL | re.MULTILINE)


def find_channel_pages(pages: list[Tags], chosen: int) -> list[int]:
    """The numbers of the three pages that are red, green and blue of the first picture; empty where
    the pages are no channels.

    Args:
        chosen: the number of the page that is read otherwise.

    Raises:
        BadImageError: two channels, or more than three.
    """
    text = pages[chosen].get(DESCRIPTION) if pages else None
    if not isinstance(text, str) or number_of(pages[chosen], SAMPLES, 1) != 1:
        return []
    count, step = _ome_channels(text) or _imagej_channels(text) or (1, 1)
    numbers = list(range(chosen, chosen + count * step, step)) if 1 < count <= len(pages) else []
    shapes = {_shape(pages[number]) for number in numbers if number < len(pages)}
    if not numbers or numbers[-1] >= len(pages) or len(shapes) != 1:
        return []  # one channel of a set of files, or text that says nothing of these pages
    if count != 3:
        raise BadImageError(
            f"{count} channels that are stored as pages (OME, ImageJ), of which nothing says which "
            "are red, green and blue; merge them to RGB, with Fiji say"
        )
    return numbers


def _ome_channels(text: str) -> tuple[int, int] | None:
    """How many channels an OME-XML says, and how many pages lie from one to the next."""
    found = _PIXELS.search(text)
    if found is None or _COLOURS.search(text):
        return None
    said = dict(_ATTRIBUTE.findall(found[0]))
    step = 1
    for name in said.get("DimensionOrder", "XYCZT")[2:]:
        size = said.get(f"Size{name}", "1")
        size = int(size) if size.isascii() and size.isdecimal() and len(size) < 10 else 1
        if name == "C":
            return size, step
        step *= max(size, 1)
    return None


def _imagej_channels(text: str) -> tuple[int, int] | None:
    found = _IMAGEJ.match(text)
    return (int(found[1]), 1) if found else None


def _shape(page: Tags) -> tuple:
    return tuple(number_of(page, tag, 1) for tag in (WIDTH, HEIGHT, SAMPLES))
