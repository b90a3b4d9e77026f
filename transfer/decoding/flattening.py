"""Stored pixels to 8-bit RGB: upright, and with transparency laid over the background."""

import numpy as np
from PIL import Image, ImageCms, ImageOps

from transfer.decoding.bad_image import BadImageError
from transfer.decoding.opened import ALPHA_ZERO, FALSE_ALPHA, FLATTENED, NO_DATA, SCALED, Opened
from transfer.decoding.samples import EVERYTHING_EMPTY, black_and_white
from transfer.decoding.value_ranges import PixelRules

_BLANK_DISTANCE = 8  # levels by which a picture must differ from its background to be seen
# of the pixels, which are 0 or opaque in a band that is transparency
_TIFF_SHARE, _SHARE = 0.5, 0.1
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def to_rgb(opened: Opened, rules: PixelRules) -> tuple[Image.Image, tuple[str, ...]]:
    """8-bit RGB with transparency laid over the background, and the remarks on how it was made.

    Raises:
        BadImageError: nothing of it is visible, or its range of values is unknown.
    """
    if opened.samples is not None:
        return _samples_to_rgb(opened, rules)
    image = _upright(opened.image)
    if not image.has_transparency_data:
        return to_srgb(image), opened.remarks
    rgba = image.convert("RGBA")
    if opened.drop_alpha:
        return rgba.convert("RGB"), opened.remarks
    if _is_false_alpha(opened, rules):
        return rgba.convert("RGB"), (*opened.remarks, FALSE_ALPHA)
    least, most = rgba.getchannel("A").getextrema()
    if least == most < 255:
        rgb = rgba.convert("RGB")
        if most == 0:
            _check_not_empty(rgb)
        return rgb, (*opened.remarks, ALPHA_ZERO)
    paper = Image.new("RGBA", rgba.size, rules.background)
    flat = Image.alpha_composite(paper, rgba).convert("RGB")
    if least == 255:
        return flat, opened.remarks
    _check_visible(flat, rules.background)
    return flat, (*opened.remarks, FLATTENED)


def _is_false_alpha(opened: Opened, rules: PixelRules) -> bool:
    is_band = opened.image is None or opened.image.mode in ("RGBA", "LA")
    return is_band and not opened.is_tiff and not rules.alpha


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # whatever garbage in the metadata makes Pillow raise, the pixels are sound
        return image


def to_srgb(image: Image.Image) -> Image.Image:
    """An opaque image of any mode as RGB; Lab by its definition, others by Pillow's formulas."""
    if image.mode == "LAB":
        profiles = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(image, *profiles, outputMode="RGB")
    return image.convert("RGB")


def _samples_to_rgb(opened: Opened, rules: PixelRules) -> tuple[Image.Image, tuple[str, ...]]:
    samples, remarks = opened.samples, opened.remarks
    if samples.fixed is None or samples.fixed[1] > 255:
        remarks = (*remarks, SCALED)
    pixels = samples.scaled(*black_and_white(samples, rules))
    pixels = np.broadcast_to(pixels, (*pixels.shape[:2], 3))
    alpha, valid = samples.alpha, samples.valid
    if alpha is not None and _is_false_alpha(opened, rules):
        alpha, remarks = None, (*remarks, FALSE_ALPHA)
    if valid is not None and not valid.any():
        raise BadImageError(EVERYTHING_EMPTY)
    if alpha is not None and alpha.min() == alpha.max() < 1:
        if not alpha.any():
            _check_not_empty(Image.fromarray(np.array(pixels)))
        alpha, remarks = None, (*remarks, ALPHA_ZERO)
    is_flattened = alpha is not None and bool((alpha < 1).any())
    remarks += (FLATTENED,) if is_flattened else ()
    remarks += (NO_DATA,) if valid is not None else ()
    pixels = np.array(pixels)
    if is_flattened:
        _lay_over(pixels, alpha, rules.background)
    if valid is not None:
        pixels[~valid] = rules.background
    image = Image.fromarray(pixels)
    if is_flattened:
        _check_visible(image, rules.background)
    turn = _TURNS.get(opened.orientation)
    return (image if turn is None else image.transpose(turn)), remarks


def _lay_over(pixels: np.ndarray, alpha: np.ndarray, background: tuple[int, int, int]) -> None:
    """Lay RGB of 8 bits over the background, in place; alpha (H, W) is from 0 to 1."""
    paper = np.array(background, np.float32)
    for top in range(0, len(pixels), 256):  # in bands, so that no large array of floats is made
        band = pixels[top : top + 256]
        share = alpha[top : top + 256, :, None]
        band[:] = np.round(band * share + paper * (1 - share))


def _check_not_empty(image: Image.Image) -> None:
    if all(low == high for low, high in image.getextrema()):
        raise BadImageError("blank: every pixel is transparent, and all have one colour; remove it")


def _check_visible(image: Image.Image, background: tuple[int, int, int]) -> None:
    extrema = image.getextrema()
    if all(
        abs(value - level) <= _BLANK_DISTANCE
        for (low, high), level in zip(extrema, background, strict=True)
        for value in (low, high)
    ):
        colour = f"#{bytes(background).hex()}"
        raise BadImageError(
            f"blank: its visible pixels have the colour of the background, decode.background = "
            f"{colour}, which transparency is laid over; set another one, 'black' or 'grey' say"
        )


def alpha_looks_true(opened: Opened) -> bool | None:
    """Whether a band that is called alpha is 0 or opaque in enough pixels: in most of a TIFF, where
    it may be anything, and in a tenth of other images. None where there is no such band, where it
    is the same everywhere, and where it is all that is to be seen."""
    if opened.samples is not None:
        alpha, colours = opened.samples.alpha, opened.samples.values
        if alpha is None:
            return None
    elif opened.image.mode in ("RGBA", "LA") and not opened.drop_alpha:
        alpha = np.asarray(opened.image.getchannel("A")) / np.float32(255)
        colours = np.asarray(opened.image)[..., :-1]
    else:
        return None
    if alpha.min() == alpha.max() and alpha.flat[0] in (0, 1):
        return None
    share = ((alpha == 0) | (alpha == 1)).mean()
    if opened.is_tiff:
        return bool(share > _TIFF_SHARE)
    if alpha.min() == alpha.max() or (colours == colours[:1, :1]).all():
        return None
    return bool(share > _SHARE)
