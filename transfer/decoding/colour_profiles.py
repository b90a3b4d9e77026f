"""Colour profiles (ICC) and gammas that pictures bring along. None is applied; those that would
change colours visibly are remarked."""

import io
from collections.abc import Mapping
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

from transfer.decoding.opened import OTHER_COLOURS

_LEVELS = (32, 96, 160, 224)
_VISIBLE = 14  # levels of 255 by which a colour has to change
_MOST_BYTES = 4_000_000
_SRGB_GAMMA = 1 / 2.2
_MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}


def remarks_on_colours(info: Mapping) -> tuple[str, ...]:
    """The remark on a picture whose colours mean other ones than those of sRGB; none of others.

    Args:
        info: a picture's metadata as Pillow has it. What says that it is sRGB goes before a
            profile, and a profile before a gamma.
    """
    profile, gamma = info.get("icc_profile"), info.get("gamma")
    if "srgb" in info:
        return ()
    if profile and isinstance(profile, bytes):
        is_other = len(profile) <= _MOST_BYTES and _is_far_from_srgb(profile)
    else:
        is_other = isinstance(gamma, float) and _is_other_gamma(gamma)
    return (OTHER_COLOURS,) if is_other else ()


def _is_other_gamma(gamma: float) -> bool:
    levels = np.array(_LEVELS) / 255
    meant = levels ** (_SRGB_GAMMA / gamma) if gamma > 0 else levels
    return bool(np.abs(meant - levels).max() * 255 > _VISIBLE)


@lru_cache(maxsize=8)
def _is_far_from_srgb(profile: bytes) -> bool:
    """Whether some colour of a profile is visibly another one in sRGB than without the profile.
    False of a profile that is damaged, or of other colours than RGB, grey and CMYK."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode = _MODES[source.profile.xcolor_space.strip()]
        chart = _chart(mode)
        meant = ImageCms.profileToProfile(
            chart,
            source,
            ImageCms.createProfile("sRGB"),
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode="RGB",
        )
    except Exception:  # whatever garbage makes LittleCMS raise, the pixels are sound
        return False
    shown = np.asarray(chart.convert("RGB"), np.int16)
    return bool(np.abs(np.asarray(meant, np.int16) - shown).max() > _VISIBLE)


def _chart(mode: str) -> Image.Image:
    """All combinations of a few levels, each one pixel."""
    bands = len(Image.new(mode, (1, 1)).getbands())
    values = np.stack(np.meshgrid(*[_LEVELS] * bands), axis=-1).reshape(1, -1, bands)
    return Image.fromarray(values.astype(np.uint8).squeeze(-1 if bands == 1 else ()), mode)
