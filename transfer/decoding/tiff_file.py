"""TIFF files: the page that is meant, what its bands are, and what of them is data."""

from dataclasses import replace

import numpy as np
from PIL import Image, ImagePalette

from transfer.decoding import large_images, tiff_tags
from transfer.decoding.bad_image import BadImageError, UnidentifiedError
from transfer.decoding.broken_transfers import check_stored_rows, order_of_rows
from transfer.decoding.flattening import to_srgb
from transfer.decoding.large_images import check_pixels, reduction_of
from transfer.decoding.opened import (
    ANIMATION,
    CHANNELS,
    EXTRA_BANDS,
    GUESSED_BANDS,
    REDUCED,
    THUMBNAIL_FIRST,
    TIFF_ALPHA,
    Opened,
    orientation_of,
)
from transfer.decoding.pillow_file import identify
from transfer.decoding.samples import Samples, where_data_is
from transfer.decoding.tiff_blocks import UNPACKED, TiffLayout, read_bands, read_layout
from transfer.decoding.tiff_channels import find_channel_pages
from transfer.decoding.tiff_lab import is_other_lab, lab_image
from transfer.decoding.tiff_levels import find_smaller_level
from transfer.decoding.tiff_tags import Tags, number_of, numbers_of, size_of

CAMERA_RAW = (
    "a camera's RAW file (DNG, NEF or the like); convert it to JPEG, PNG or TIFF with the camera's "
    "program or darktable"
)
# What an extra band is
_UNSPECIFIED, _PREMULTIPLIED, _TRANSPARENCY = 0, 1, 2
# Maps that were turned to the north end in a slanting edge, with zeros beyond it.
_GEOGRAPHIC = {33550, 33922, 34264, 34735}
_BANDS = {
    tiff_tags.WHITE_IS_ZERO: 1,
    tiff_tags.BLACK_IS_ZERO: 1,
    tiff_tags.RGB: 3,
    tiff_tags.SEPARATED: 4,
}


def open_tiff(content: bytes, *, tiff_alpha: bool) -> Opened:
    """The picture of a TIFF.

    Args:
        tiff_alpha: whether a band that is called alpha is one.

    Raises:
        BadImageError: damaged, a camera's RAW file, or of a kind that is not read.
    """
    pages = tiff_tags.read_pages(content)
    if tiff_tags.is_camera_raw(content, pages):
        raise BadImageError(CAMERA_RAW)
    number = tiff_tags.choose_page(pages)
    channels = find_channel_pages(pages, number)
    is_animated = tiff_tags.count_pictures(pages) > max(1, len(channels))
    remarks = (ANIMATION,) if is_animated else ()
    remarks += (THUMBNAIL_FIRST,) if number else ()
    if not channels and (level := find_smaller_level(content, pages, number)):
        content, number, tags = level
        return _read_page(content, number, tags, (*remarks, REDUCED), tiff_alpha=tiff_alpha)
    opened = [
        _read_page(content, each, pages[each] if pages else {}, remarks, tiff_alpha=tiff_alpha)
        for each in channels or [number]
    ]
    return _merge(opened) if channels else opened[0]


def _read_page(
    content: bytes, number: int, tags: Tags, remarks: tuple[str, ...], *, tiff_alpha: bool
) -> Opened:
    if number_of(tags, tiff_tags.COMPRESSION) == tiff_tags.WEBP:
        raise BadImageError(tiff_tags.describe_page(tags))
    if is_other_lab(tags):
        return _read_lab(content, tags, remarks)
    if _is_deep(tags) or tiff_tags.is_big_endian_bigtiff(content) or _is_large(tags):
        return _read_samples(content, tags, remarks, tiff_alpha=tiff_alpha)
    return _read_by_pillow(content, number, tags, remarks, tiff_alpha=tiff_alpha)


def _is_large(tags: Tags) -> bool:
    """Whether it has too many pixels for Pillow and is packed in a way that is read by blocks."""
    width, height = size_of(tags)
    return (
        width * height > large_images.MAX_PIXELS
        and number_of(tags, tiff_tags.PHOTOMETRIC) in _BANDS
        and number_of(tags, tiff_tags.COMPRESSION, tiff_tags.NONE) in UNPACKED
    )


def _read_lab(content: bytes, tags: Tags, remarks: tuple[str, ...]) -> Opened:
    layout = read_layout(content, tags)
    if layout.samples < 3 or layout.kind == "float":
        raise BadImageError(tiff_tags.describe_page(tags))
    step = reduction_of(layout.width, layout.height)
    remarks = (*remarks, REDUCED) if step > 1 else remarks
    image = lab_image(read_bands(content, layout, step), number_of(tags, tiff_tags.PHOTOMETRIC))
    samples = Samples(np.asarray(to_srgb(image)), "unsigned", (0, 0xFF))
    orientation = number_of(tags, tiff_tags.ORIENTATION, 1)
    return Opened(samples=samples, orientation=orientation, is_tiff=True, remarks=remarks)


def _merge(channels: list[Opened]) -> Opened:
    """Three grey pictures of one size as red, green and blue of one."""
    first = channels[0]
    remarks = (CHANNELS, *first.remarks)
    if first.samples is None:
        image = Image.merge("RGB", [each.image.convert("L") for each in channels])
        return replace(first, image=image, remarks=remarks)
    values = np.concatenate([each.samples.values for each in channels], axis=-1)
    valid = [each.samples.valid for each in channels if each.samples.valid is not None]
    samples = replace(first.samples, values=values, valid=np.any(valid, axis=0) if valid else None)
    return replace(first, samples=samples, remarks=remarks)


def _is_deep(tags: Tags) -> bool:
    """Whether Pillow would cut the samples, refuse them, take them for alpha, or show pixels that
    are none: other than 8 bits unsigned, bands beyond colour that nothing describes, no data."""
    photometric = number_of(tags, tiff_tags.PHOTOMETRIC)
    if photometric not in _BANDS:
        return False
    bits = numbers_of(tags, tiff_tags.BITS, (1,))
    bands, base = number_of(tags, tiff_tags.SAMPLES, 1), _BANDS[photometric]
    if {*numbers_of(tags, tiff_tags.FORMAT, (1,))} - {1, 4}:
        return True
    if photometric == tiff_tags.SEPARATED:
        return {*bits} - {8, 16} != set() or bands != base
    if any(each not in (1, 2, 4, 8) for each in bits):
        return True
    if base == 3 and bits[0] != 8:
        return True
    if bits[0] != 8:
        return False
    is_unpacked = number_of(tags, tiff_tags.COMPRESSION, 1) in UNPACKED
    if base == 1 and bands == 2 and is_unpacked:  # in planes, or multiplied by alpha
        return True
    is_sparse = 0 in numbers_of(tags, tiff_tags.TILE_BYTES)
    has_gaps = is_sparse or _no_data_value(tags) is not None
    return bands not in (base, base + 1) or (is_unpacked and has_gaps)


def _read_by_pillow(
    content: bytes, number: int, tags: Tags, remarks: tuple[str, ...], *, tiff_alpha: bool
) -> Opened:
    try:
        image = identify(content)
    except UnidentifiedError:
        if tiff_tags.PHOTOMETRIC not in tags or tiff_tags.WIDTH not in tags:
            raise
        is_unpacked = number_of(tags, tiff_tags.COMPRESSION, tiff_tags.NONE) in UNPACKED
        if is_unpacked and number_of(tags, tiff_tags.PHOTOMETRIC) in _BANDS:
            return _read_samples(content, tags, remarks, tiff_alpha=tiff_alpha)
        raise BadImageError(tiff_tags.describe_page(tags)) from None
    if number:
        image.seek(number)
    check_pixels(*image.size)
    # a tile is decoded whole, however small the image is
    tile = image.tag_v2.get(tiff_tags.TILE_WIDTH, 0), image.tag_v2.get(tiff_tags.TILE_HEIGHT, 0)
    check_pixels(*tile)
    colours = image.tag_v2.get(tiff_tags.COLOR_MAP, ())
    if image.mode == "P" and colours and max(colours) <= 0xFF:  # 8 bits, where TIFF wants 16
        image.palette = ImagePalette.raw("RGB;L", bytes(colours))
    order = 0 if _GEOGRAPHIC & {*image.tag_v2} else order_of_rows(image)
    image.load()
    check_stored_rows(image, order)
    white_is_zero = image.tag_v2.get(tiff_tags.PHOTOMETRIC) == tiff_tags.WHITE_IS_ZERO
    if image.mode == "I" or image.mode.startswith("I;16"):
        samples = Samples(
            np.asarray(image)[..., None], "unsigned", (0, 0xFFFF), white_is_zero=white_is_zero
        )
        return Opened(samples=samples, orientation=orientation_of(image), remarks=remarks)
    extra = {*image.tag_v2.get(tiff_tags.EXTRA, ())}
    drop = image.mode in ("RGBA", "LA") and not (
        tiff_alpha and {_PREMULTIPLIED, _TRANSPARENCY} & extra
    )
    if drop or (image.mode in ("RGB", "L") and extra):
        remarks = (*remarks, TIFF_ALPHA)
    return Opened(image, is_tiff=True, drop_alpha=drop, remarks=remarks)


def _read_samples(
    content: bytes, tags: Tags, remarks: tuple[str, ...], *, tiff_alpha: bool
) -> Opened:
    photometric = number_of(tags, tiff_tags.PHOTOMETRIC)
    if photometric not in _BANDS:
        raise BadImageError(tiff_tags.describe_page(tags))
    layout = read_layout(content, tags)
    base, extra = _BANDS[photometric], numbers_of(tags, tiff_tags.EXTRA)
    if base == 1 and layout.samples in (3, 4) and {*extra[:2]} <= {_UNSPECIFIED}:
        base, extra = 3, extra[2:]  # what GDAL writes of three bands
        remarks = (*remarks, GUESSED_BANDS)
    if layout.samples < base or (base == 1 and layout.samples > 2):
        raise BadImageError(
            f"{layout.samples} bands, of which nothing says which are red, green and blue; save it "
            "with these three"
        )
    step = reduction_of(layout.width, layout.height)
    if step > 1:
        remarks = (*remarks, REDUCED)
    bands = read_bands(content, layout, step)
    values, alpha = bands[..., :base], None
    number = _alpha_band(extra) if tiff_alpha else None
    if number is not None and base + number < layout.samples:
        full = 1.0 if layout.kind == "float" else float(2**layout.bits - 1)
        alpha = bands[..., base + number].astype(np.float32)
        np.clip(np.divide(alpha, full, out=alpha), 0, 1, out=alpha)
        if extra[number] == _PREMULTIPLIED:
            values = _divided(values, alpha)
    left_out = layout.samples - base - (alpha is not None)
    if left_out:
        remarks = (*remarks, TIFF_ALPHA if left_out == 1 else EXTRA_BANDS)
    valid = where_data_is(values, layout.kind, _no_data_value(tags))
    if base == 4:
        colours = _from_inks(values, layout)
        samples = Samples(colours, "unsigned", (0, np.iinfo(colours.dtype).max), alpha=alpha)
    else:
        samples = Samples(
            values,
            layout.kind,
            fixed=_fixed(layout),
            declared=_declared(tags),
            white_is_zero=photometric == tiff_tags.WHITE_IS_ZERO,
            alpha=alpha,
            valid=valid,
        )
    orientation = number_of(tags, tiff_tags.ORIENTATION, 1)
    info = {"icc_profile": tags.get(tiff_tags.PROFILE)}
    return Opened(
        samples=samples, orientation=orientation, is_tiff=True, remarks=remarks, info=info
    )


def _alpha_band(extra: tuple) -> int | None:
    """The number of the band among those beyond colour that is transparency."""
    kinds = (_PREMULTIPLIED, _TRANSPARENCY)
    return next((number for number, kind in enumerate(extra) if kind in kinds), None)


def _divided(values: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Colours (H, W, bands) that were multiplied by alpha (H, W), as they were before."""
    colours = np.empty(values.shape, values.dtype)
    is_float = values.dtype.kind == "f"
    most = np.inf if is_float else np.iinfo(values.dtype).max
    for top in range(0, len(values), 256):  # in bands, so that no large array of floats is made
        share = np.where(alpha[top : top + 256] > 0, alpha[top : top + 256], 1)[..., None]
        whole = values[top : top + 256] / share.astype(np.float64)
        colours[top : top + 256] = whole if is_float else np.clip(np.round(whole), 0, most)
    return colours


def _from_inks(inks: np.ndarray, layout: TiffLayout) -> np.ndarray:
    """Red, green and blue (H, W, 3), uint8 if the inks have 8 bits, else uint16, of cyan, magenta,
    yellow and black (H, W, 4)."""
    dtype = np.uint8 if layout.bits == 8 else np.uint16
    full = 1.0 if layout.kind == "float" else float(2**layout.bits - 1)
    colours = np.empty((*inks.shape[:2], 3), dtype)
    for top in range(0, len(inks), 256):  # in bands, so that no large array of floats is made
        paper = 1 - np.clip(inks[top : top + 256].astype(np.float32) / full, 0, 1)
        colours[top : top + 256] = np.round(paper[..., :3] * paper[..., 3:] * np.iinfo(dtype).max)
    return colours


def _fixed(layout: TiffLayout) -> tuple[float, float] | None:
    if layout.kind == "unsigned" and layout.bits not in (16, 32, 64):
        return 0, 2**layout.bits - 1
    return None


def _declared(tags: Tags) -> tuple[float, float] | None:
    low = number_of(tags, tiff_tags.SMIN, number_of(tags, tiff_tags.MIN, 0))
    high = number_of(tags, tiff_tags.SMAX, number_of(tags, tiff_tags.MAX))
    if high is None or not np.isfinite([low, high]).all() or low >= high:
        return None
    return float(low), float(high)


def _no_data_value(tags: Tags) -> float | None:
    """The value of pixels without data, as GDAL writes it."""
    text = tags.get(tiff_tags.NODATA)
    try:
        return float(str(text).strip("\0 ")) if text is not None else None
    except ValueError:
        return None
