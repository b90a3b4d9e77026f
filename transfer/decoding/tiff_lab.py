"""CIE Lab of a TIFF that Pillow does not open: of 16 bits, and as ICC has it."""

import numpy as np
from PIL import Image

from transfer.decoding import tiff_tags
from transfer.decoding.tiff_blocks import UNPACKED
from transfer.decoding.tiff_tags import Tags, number_of, numbers_of

CIE_LAB, ICC_LAB = 8, 9
_BANDS = 3


def is_other_lab(tags: Tags) -> bool:
    """Whether a page is Lab that `lab_image` takes, and Pillow does not open."""
    photometric = number_of(tags, tiff_tags.PHOTOMETRIC)
    bits = {*numbers_of(tags, tiff_tags.BITS)}
    read = {CIE_LAB: ({16},), ICC_LAB: ({8}, {16})}.get(photometric, ())
    return bits in read and number_of(tags, tiff_tags.COMPRESSION, tiff_tags.NONE) in UNPACKED


def lab_image(bands: np.ndarray, photometric: int) -> Image.Image:
    """An image of Lab in Pillow's hands, of 8 bits.

    Args:
        bands: of 8 or 16 bits, (H, W, 3 or more); L, a and b are the first. a and b of CIE Lab are
            signed, those of ICC Lab have their zero in the middle; white is 100 % of L, or 0xFF00
            in 16 bits of ICC Lab.
    """
    bits = 8 * bands.dtype.itemsize
    values = bands[..., :_BANDS].view(f"u{bands.dtype.itemsize}")
    lab = np.empty((*bands.shape[:2], _BANDS), np.uint8)
    white = 0xFF00 if bits == 16 and photometric == ICC_LAB else 2**bits - 1
    lightness = values[..., 0].astype(np.float32) * np.float32(255 / white)
    lab[..., 0] = np.round(np.minimum(lightness, 255))
    lab[..., 1:] = values[..., 1:] >> (bits - 8)
    if photometric == ICC_LAB:
        lab[..., 1:] ^= 0x80
    return Image.frombytes("LAB", (lab.shape[1], lab.shape[0]), lab.tobytes())
