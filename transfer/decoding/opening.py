"""Opens an image file of any format that is read: its pixels as they are stored."""

import struct
from dataclasses import replace

import numpy as np
from PIL import Image

from transfer.decoding.bad_image import BadImageError
from transfer.decoding.broken_transfers import check_end, check_stored_rows, order_of_rows
from transfer.decoding.frames import load_first
from transfer.decoding.jpeg2000_file import read_other_j2k
from transfer.decoding.jpeg_file import open_jpeg
from transfer.decoding.large_images import coefficient_bytes, is_reduced, reduction_of
from transfer.decoding.opened import REDUCED, Opened, orientation_of
from transfer.decoding.pillow_file import icon_sizes, identify, is_icon
from transfer.decoding.png_file import PNG_SIGNATURE, open_png
from transfer.decoding.pnm_file import read_colour_pfm, read_deep_pnm, size_of_colour_pfm
from transfer.decoding.samples import Samples, where_data_is
from transfer.decoding.tiff_file import open_tiff
from transfer.decoding.tiff_levels import find_smaller_level
from transfer.decoding.tiff_tags import (
    BITS,
    SAMPLES,
    choose_page,
    is_tiff,
    number_of,
    read_pages,
    size_of,
)

# of a pixel, while transparency is laid over a background
_PIXEL_BYTES = 24
_J2K_PIXEL_BYTES = 40  # OpenJPEG has four bytes a sample, twice


def open_image(content: bytes, *, tiff_alpha: bool) -> Opened:
    """The picture of a file, loaded.

    Args:
        tiff_alpha: whether a band that a TIFF calls alpha is one.

    Raises:
        BadImageError: empty, of no known format, damaged, or too many pixels.
    """
    if not content:
        raise BadImageError("the file is empty")
    if is_tiff(content):
        return open_tiff(content, tiff_alpha=tiff_alpha)
    if content[:8] == PNG_SIGNATURE:
        return open_png(content)
    if content[:3] == b"\xff\xd8\xff":
        return open_jpeg(content)
    if samples := read_colour_pfm(content):
        return Opened(samples=samples)
    image = identify(content)
    if image.format == "PPM" and (samples := read_deep_pnm(image, content)):
        return Opened(samples=samples)
    check_end(content, image.format)
    remarks = (REDUCED,) if is_reduced(image) else ()
    order = order_of_rows(image)
    opened = load_first(image, content)
    check_stored_rows(opened.image, order)
    opened = _deepened(opened, content)
    return replace(opened, remarks=(*remarks, *opened.remarks))


def bytes_to_decode(content: bytes) -> int:
    """About how many bytes of memory it takes at most to decode an image, by its header. Whatever
    Pillow raises for what it does not open."""
    if is_icon(content):
        return max(width * height for width, height in icon_sizes(content)) * _PIXEL_BYTES
    if is_tiff(content):
        pages = read_pages(content)
        number = choose_page(pages)
        level = find_smaller_level(content, pages, number)
        tags = level[2] if level else pages[number]
        width, height = size_of(tags)
        bits = int(number_of(tags, SAMPLES, 1)) * int(number_of(tags, BITS, 1))
        step = reduction_of(width, height)
        return width * height // step**2 * (_PIXEL_BYTES + 2 * bits // 8)
    if content[:8] == PNG_SIGNATURE:  # by itself, since Pillow refuses large metadata
        width, height = struct.unpack_from(">II", content, 16)
        return width * height * _PIXEL_BYTES
    if size := size_of_colour_pfm(content):
        return size[0] * size[1] * _PIXEL_BYTES
    image = identify(content)
    each = _J2K_PIXEL_BYTES if image.format == "JPEG2000" else _PIXEL_BYTES
    size = image.width * image.height * each
    if not is_reduced(image):
        return size
    if image.format == "JPEG2000":  # whose size changes as it is loaded
        return size >> 2 * image.reduce
    return size + coefficient_bytes(image)


def _deepened(opened: Opened, content: bytes) -> Opened:
    """A loaded image of more than 8 bits as samples, or as 8 bits of colour; any other as it is."""
    image = opened.image
    if image.mode == "F":
        values = np.asarray(image)[..., None]
        samples = Samples(values, "float", valid=where_data_is(values, "float"))
    elif image.format == "JPEG2000" and (found := read_other_j2k(image, content)):
        if isinstance(found, Image.Image):
            return replace(opened, image=found)
        samples = found
    elif image.mode == "I" or image.mode.startswith("I;16"):
        samples = Samples(np.asarray(image)[..., None], "unsigned", (0, 0xFFFF))
    else:
        return opened
    return Opened(samples=samples, orientation=orientation_of(image), remarks=opened.remarks)
