"""Portable grey, pixel and floating-point maps (PGM, PPM, PFM) of more than 8 bits."""

import re

import numpy as np
from PIL import Image

from transfer.decoding.bad_image import BadImageError
from transfer.decoding.large_images import check_pixels
from transfer.decoding.samples import Samples, where_data_is

_GAP = rb"(?:\s|#[^\n]*\n)+"
_HEADER = re.compile(rb"P[56]" + _GAP + rb"\d+" + _GAP + rb"\d+" + _GAP + rb"(\d+)")
_COLOUR_PFM = re.compile(rb"PF\s+(\d{1,9})\s+(\d{1,9})\s+([-+]?[\d.]+(?:[eE][-+]?\d+)?)\s")


def read_deep_pnm(image: Image.Image, content: bytes) -> Samples | None:
    """The samples of a binary PGM or PPM whose maximum is not 255; None of any other.

    Raises:
        BadImageError: it is cut off.
    """
    kind = content[:2]
    if kind not in (b"P5", b"P6") or not image.tile:
        return None
    header = _HEADER.match(content)
    most = int(header[1]) if header else 255
    if most == 255:
        return None
    bands, dtype = (1 if kind == b"P5" else 3), np.dtype("u1" if most < 256 else ">u2")
    width, height = image.size
    values = _values(content, image.tile[0].offset, (height, width, bands), dtype)
    return Samples(values, "unsigned", fixed=(0, most))


def size_of_colour_pfm(content: bytes) -> tuple[int, int] | None:
    """Width and height of a PFM in colour by its header; None of any other file."""
    header = _COLOUR_PFM.match(content)
    return (int(header[1]), int(header[2])) if header else None


def read_colour_pfm(content: bytes) -> Samples | None:
    """The samples of a PFM in colour, which Pillow does not open; None of any other.

    Raises:
        BadImageError: it is cut off, or too many pixels.
    """
    header = _COLOUR_PFM.match(content)
    if header is None:
        return None
    width, height = int(header[1]), int(header[2])
    if not width * height:
        raise BadImageError("damaged or truncated: a PFM without pixels")
    check_pixels(width, height)
    dtype = np.dtype("<f4" if header[3].startswith(b"-") else ">f4")
    values = _values(content, header.end(), (height, width, 3), dtype)[::-1]
    return Samples(values, "float", valid=where_data_is(values, "float"))


def _values(content: bytes, start: int, shape: tuple[int, int, int], dtype: np.dtype) -> np.ndarray:
    count = shape[0] * shape[1] * shape[2]
    if len(content) < start + count * dtype.itemsize:
        raise BadImageError("damaged or truncated: fewer pixels than its header says")
    return np.frombuffer(content, dtype, count, start).reshape(shape)
