"""Colour profiles and gammas: applied never, remarked where they would change colours visibly."""

import numpy as np
import pytest
from PIL import Image, ImageCms

from tests.helpers.pngs import chunk, png
from tests.helpers.profiles import ADOBE_RGB, DISPLAY_P3, SRGB, profile
from tests.helpers.tiffs import tiff
from tests.helpers.tiny_sources import encode, picture
from transfer.decoding.opened import OTHER_COLOURS
from transfer.decoding.rgb import examine

WHITE = (255, 255, 255)
BUILT_IN = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def remarks(image: Image.Image, kind: str, **options) -> tuple[str, ...]:
    return examine(encode(image, kind, **options), WHITE).remarks


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize(
    ("icc", "is_other"),
    [
        (BUILT_IN, False),
        (profile(SRGB, 2.2), False),
        (profile(DISPLAY_P3, 2.2), True),
        (profile(ADOBE_RGB, 2.2), True),
        (profile(SRGB, 1.0), True),
        (b"garbage" * 20, False),
    ],
    ids=["built in", "sRGB", "P3", "Adobe", "linear", "garbage"],
)
def test_a_profile_is_remarked_if_it_is_far_from_srgb_and_changes_no_pixel(kind, icc, is_other):
    lossless = {"lossless": True} if kind == "WEBP" else {}
    with_it = encode(picture(0), kind, icc_profile=icc, **lossless)
    found = examine(with_it, WHITE)
    assert found.remarks == ((OTHER_COLOURS,) if is_other else ())
    without = examine(encode(picture(0), kind, **lossless), WHITE).image
    assert (np.asarray(found.image) == np.asarray(without)).all()


@pytest.mark.parametrize(("gamma", "is_other"), [(2.2, False), (1.8, True), (1.0, True)])
def test_grey_has_profiles_too(gamma, is_other):
    found = remarks(picture(0).convert("L"), "JPEG", icc_profile=profile(None, gamma))
    assert found == ((OTHER_COLOURS,) if is_other else ())


def test_a_profile_for_other_colours_than_the_pictures_is_ignored():
    assert remarks(picture(0), "PNG", icc_profile=BUILT_IN.replace(b"RGB ", b"Lab ")) == ()


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_profiles_of_sixteen_bits_are_remarked(kind):
    values = np.random.default_rng(0).integers(0, 65536, (8, 12, 3)).astype("u2")
    icc = profile(ADOBE_RGB, 2.2)
    if kind == "PNG":
        embedded = Image.new("RGB", (1, 1))
        whole = encode(embedded, "PNG", icc_profile=icc)
        at = whole.index(b"iCCP") - 4
        length = int.from_bytes(whole[at : at + 4], "big")
        content = png(values, 16, whole[at : at + 12 + length])
    else:
        content = tiff(values, 16, 2, {34675: icc})
    assert OTHER_COLOURS in examine(content, WHITE).remarks


@pytest.mark.parametrize(
    ("gamma", "is_srgb", "is_other"),
    [(45455, False, False), (100000, False, True), (100000, True, False), (0, False, False)],
)
def test_a_gamma_of_a_png_is_remarked_if_it_is_another_one(gamma, is_srgb, is_other):
    values = np.asarray(picture(0))
    chunks = [chunk(b"gAMA", gamma.to_bytes(4, "big"))]
    chunks += [chunk(b"sRGB", b"\0")] if is_srgb else []
    found = examine(png(values, 8, *chunks), WHITE)
    assert found.remarks == ((OTHER_COLOURS,) if is_other else ())
    assert (np.asarray(found.image) == values).all()
