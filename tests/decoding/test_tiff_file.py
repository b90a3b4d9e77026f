"""TIFFs: which page is read, which bands, what is no data, and what is said of those not read."""

import numpy as np
import pytest
from PIL import Image, ImageCms

from tests.helpers.tiffs import tiff
from tests.helpers.tiny_sources import encode, picture
from transfer.decoding.opened import (
    ANIMATION,
    CHANNELS,
    EXTRA_BANDS,
    NO_DATA,
    SCALED,
    THUMBNAIL_FIRST,
    TIFF_ALPHA,
)
from transfer.decoding.rgb import BadImageError, examine, read_rgb
from transfer.decoding.value_ranges import PixelRules, derive_range

WHITE = (255, 255, 255)
COLOUR = np.random.default_rng(0).random((8, 12, 3))
GREY = np.linspace(0, 1, 96).reshape(8, 12, 1)


def by_its_own_range(content: bytes) -> np.ndarray:
    """Decoded as the only image of a data set, over blue."""
    found = examine(content, WHITE)
    ranges = (
        {found.value_range.kind: derive_range([found.value_range])} if found.value_range else {}
    )
    rules = PixelRules(ranges, tiff_alpha=found.tiff_alpha is not False, background=(0, 0, 255))
    return np.asarray(read_rgb(content, rules)).astype(float)


def refusal(content: bytes) -> str:
    with pytest.raises(BadImageError) as error:
        read_rgb(content)
    return str(error.value)


def pages(*images: tuple[Image.Image, dict]) -> bytes:
    """A TIFF of several pages, each with tags of its own."""
    for image, tags in images:
        image.encoderinfo = {"tiffinfo": tags}
    (first, tags), *others = images
    return encode(
        first, "TIFF", tiffinfo=tags, save_all=True, append_images=[image for image, _ in others]
    )


# Pages


@pytest.mark.parametrize("marks", [{254: 1}, {255: 2}, {}], ids=["new", "old", "none"])
def test_a_thumbnail_in_front_of_the_picture_is_passed_over(marks):
    content = pages((picture(1, 4, 3), marks), (picture(0), {254: 0}))
    found = examine(content, WHITE)
    assert (np.asarray(found.image) == np.asarray(picture(0))).all()
    assert found.remarks == (THUMBNAIL_FIRST,)


@pytest.mark.parametrize("mark", [1, 4, 5], ids=["overview", "mask", "mask of an overview"])
def test_what_belongs_to_the_first_page_is_no_page_of_its_own(mark):
    content = pages((picture(0), {254: 0}), (picture(1, 4, 4), {254: mark}))
    assert examine(content, WHITE).remarks == ()


@pytest.mark.parametrize("second", [(12, 8), (24, 24), (18, 12), (4, 3), (8, 12)])
def test_pages_of_a_document_are_no_thumbnails_of_each_other(second):
    found = examine(pages((picture(0), {}), (picture(1, *second), {})), WHITE)
    assert (np.asarray(found.image) == np.asarray(picture(0))).all()
    assert found.remarks == (() if second == (4, 3) else (ANIMATION,))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bits", [8, 16])
def test_bigtiff_of_both_byte_orders_is_read(order, bits):
    values = np.round(COLOUR * (2**bits - 1)).astype(f"u{bits // 8}")
    content = tiff(values, bits, 2, order=order, big=True)
    assert np.abs(by_its_own_range(content) - COLOUR * 255).max() <= 1


def test_a_sensors_mosaic_is_a_cameras_raw_file():
    content = tiff(np.zeros((8, 8, 1), "u2"), 16, 32803)
    assert refusal(content).startswith("a camera's RAW file")


# Bands


@pytest.mark.parametrize("extra", [(0, 0), (0, 2), (0,) * 10], ids=["5", "5 with alpha", "13"])
@pytest.mark.parametrize("bits", [8, 16])
def test_rgb_with_more_bands_is_rgb(extra, bits):
    opaque = np.ones((8, 12, len(extra)))
    values = np.concatenate([COLOUR, opaque], axis=-1)
    content = tiff(np.round(values * (2**bits - 1)).astype(f"u{bits // 8}"), bits, 2, {338: extra})
    assert np.abs(by_its_own_range(content) - COLOUR * 255).max() <= 1
    expected = TIFF_ALPHA if extra == (0, 2) else EXTRA_BANDS
    assert expected in examine(content, WHITE).remarks


@pytest.mark.parametrize("bits", [8, 16])
def test_colours_that_were_multiplied_by_alpha_are_divided_by_it(bits):
    alpha = np.ones((8, 12, 1))
    alpha[:, :4], alpha[0, 0] = 0.5, 0
    values = np.concatenate([COLOUR * alpha, alpha], axis=-1)
    most = 2**bits - 1
    content = tiff(np.round(values * most).astype(f"u{bits // 8}"), bits, 2, {338: (1,)})
    expected = 255 * (COLOUR * alpha + np.array([0, 0, 1]) * (1 - alpha))
    assert np.abs(by_its_own_range(content) - expected).max() <= 2


def test_four_bits_a_band_are_read():
    content = tiff(np.round(COLOUR * 15).astype("u1"), 4, 2)
    assert np.abs(by_its_own_range(content) / 17 - COLOUR * 15).max() <= 0.51


@pytest.mark.parametrize("kind", ["u1", "u2", "f4"])
@pytest.mark.parametrize("has_alpha", [False, True])
def test_inks_of_any_numbers_are_read(kind, has_alpha):
    inks = np.random.default_rng(1).random((8, 12, 4))
    values = np.concatenate([inks, np.ones((8, 12, 1))], -1) if has_alpha else inks
    most = 1 if kind == "f4" else np.iinfo(kind).max
    stored = values.astype(kind) if kind == "f4" else np.round(values * most).astype(kind)
    content = tiff(stored, stored.itemsize * 8, 5, {338: (2,)} if has_alpha else {})
    expected = 255 * (1 - inks[..., :3]) * (1 - inks[..., 3:])
    assert np.abs(by_its_own_range(content) - expected).max() < 2.5


# Pixels without data


@pytest.mark.parametrize(
    ("kind", "fill"),
    [
        ("f4", -3.4028234663852886e38),
        ("f4", 3.4028234663852886e38),
        ("f4", -9999),
        ("f8", 9.969209968386869e36),
        ("i2", -9999),
        ("i2", -32768),
        ("i4", -(2**31)),
    ],
)
def test_fill_values_that_no_tag_declares_are_no_data(kind, fill):
    values = GREY.astype(kind) if kind[0] == "f" else np.round(GREY * 3000).astype(kind)
    values[0] = fill
    content = tiff(values, values.itemsize * 8)
    found = by_its_own_range(content)
    assert (found[0] == (0, 0, 255)).all()
    assert examine(content, WHITE).value_range.high == values[1:].max()
    assert found[1:].max() - found[1:].min() > 150
    assert NO_DATA in examine(content, WHITE).remarks


@pytest.mark.parametrize("least", [-9999, -32768])
def test_a_least_value_among_others_is_data(least):
    values = np.linspace(least, 20_000, 96).reshape(8, 12, 1).astype("i2")
    assert examine(tiff(values, 16), WHITE).value_range.low == least


@pytest.mark.parametrize("bands", [1, 3])
def test_no_data_of_eight_bits_is_background(bands):
    values = np.round((GREY if bands == 1 else COLOUR) * 200 + 20).astype("u1")
    expected = np.broadcast_to(values, (8, 12, 3)).astype(float)
    values[0] = 0
    content = tiff(values, 8, 1 if bands == 1 else 2, {42113: "0"})
    found = by_its_own_range(content)
    assert (found[0] == (0, 0, 255)).all()
    assert (found[1:] == expected[1:]).all()
    assert examine(content, WHITE).remarks == (NO_DATA,)


def test_a_tiff_without_any_data_says_so():
    content = tiff(np.zeros((4, 4, 1), "u1"), 8, tags={42113: "0"})
    assert refusal(content) == "every pixel is marked as having no data"


@pytest.mark.parametrize("bits", [8, 16])
def test_tiles_that_a_sparse_file_leaves_out_are_zeros(bits):
    most = 2**bits - 1
    values = np.full((16, 32, 1), most, f"u{bits // 8}")
    size = 16 * 16 * bits // 8
    whole = {322: (16,), 323: (16,), 324: (1000, 0), 325: (size, 0)}
    content = tiff(values, bits, tags=whole)
    found = np.asarray(read_rgb(content.ljust(1000)[:1000] + bytes([255]) * size))
    assert (found[:, :16] == 255).all() and not found[:, 16:].any()
    nothing = tiff(values, bits, tags=whole | {325: (0, 0)})
    assert refusal(nothing) == "every pixel is marked as having no data"


# What is not read


@pytest.mark.parametrize(
    ("photometric", "bits", "tags", "words"),
    [
        (2, 8, {259: (34712,)}, "3 bands of 8-bit samples, RGB, with compression JPEG 2000"),
        (2, 16, {259: (34887,)}, "3 bands of 16-bit samples, RGB, with compression LERC"),
        (2, 8, {259: (50001,)}, "3 bands of 8-bit samples, RGB, with compression WebP"),
        (8, 16, {259: (7,)}, "3 bands of 16-bit samples, CIE Lab, with compression JPEG"),
        (2, 16, {259: (7,)}, "3 bands of 16-bit samples, RGB, with compression JPEG"),
        (2, 8, {259: (999,)}, "3 bands of 8-bit samples, RGB, with compression number 999"),
    ],
)
def test_a_tiff_that_is_not_read_says_what_it_is(photometric, bits, tags, words):
    content = tiff(np.zeros((4, 4, 3), f"u{bits // 8}"), bits, photometric, tags)
    assert refusal(content) == (
        f"a TIFF of {words}, which is not read; save it as grey or RGB with LZW, Deflate or no "
        "compression"
    )


def test_eight_bits_are_not_called_more():
    content = tiff(np.round(COLOUR * 255).astype("u1"), 8, 2, big=True, order=">")
    assert SCALED not in examine(content, WHITE).remarks


# Channels as pages


def channel_stack(values: np.ndarray, description: str) -> bytes:
    """A TIFF with a grey page for each band of values (H, W, bands), described on the first."""
    images = [Image.fromarray(values[..., band]) for band in range(values.shape[-1])]
    return pages((images[0], {270: description}), *((image, {}) for image in images[1:]))


def ome(order: str, **sizes: int) -> str:
    attributes = " ".join(f'Size{name}="{size}"' for name, size in sizes.items())
    return f'<OME><Image><Pixels DimensionOrder="{order}" {attributes}></Pixels></Image></OME>'


COLOURS = np.random.default_rng(5).integers(0, 255, (8, 12, 3), np.uint8)


@pytest.mark.parametrize(
    ("bands", "description"),
    [
        ((0, 1, 2), ome("XYCZT", C=3, Z=1, T=1)),
        ((0, 0, 1, 1, 2, 2), ome("XYZCT", C=3, Z=2, T=1)),
        ((0, 1, 2, 0, 1, 2), ome("XYCZT", C=3, Z=2, T=1)),
        ((0, 1, 2), "ImageJ=1.53\nimages=3\nchannels=3\nmode=composite\n"),
        ((0, 1, 2, 2, 1, 0), "ImageJ=1.53\nimages=6\nchannels=3\nslices=2\n"),
    ],
)
@pytest.mark.parametrize("kind", ["u1", "u2"])
def test_three_channels_that_are_pages_are_red_green_and_blue(bands, description, kind):
    values = COLOURS.astype(kind) * (257 if kind == "u2" else 1)
    found = examine(channel_stack(values[..., list(bands)], description), (0, 0, 255))
    expected = COLOURS if kind == "u1" else COLOURS / (COLOURS.max() / 255)
    assert np.abs(np.asarray(found.image) - expected).max() <= 1
    assert CHANNELS in found.remarks
    assert (ANIMATION in found.remarks) == (len(bands) > 3)


@pytest.mark.parametrize(
    "description",
    [
        ome("XYCZT", C=1, Z=3, T=1),
        ome("XYCZT", C=3, Z=2, T=1).replace(
            "></Pixels>", '><Channel SamplesPerPixel="3"/></Pixels>'
        ),
        ome("XYZCT", C=3, Z=2, T=1),  # whose other channels are in other files
        "ImageJ=1.53\nimages=3\nslices=3\n",
        "channels=3\n",
    ],
)
def test_pages_that_are_no_channels_give_the_first(description):
    found = examine(channel_stack(COLOURS, description), (0, 0, 255))
    assert (np.asarray(found.image)[..., 1] == COLOURS[..., 0]).all()
    assert found.remarks == (ANIMATION,)


@pytest.mark.parametrize("count", [2, 4])
def test_channels_of_unknown_colour_are_refused(count):
    values = COLOURS[..., [0, 1, 2, 0][:count]]
    words = refusal(channel_stack(values, f"ImageJ=1.53\nimages={count}\nchannels={count}\n"))
    assert words.startswith(f"{count} channels that are stored as pages (OME, ImageJ)")


# Habits of other programs


def test_a_palette_of_eight_bits_is_read_as_it_is_meant():
    image = picture(0).quantize(16)
    colours = np.array(image.getpalette()[:48] + [0] * 720).reshape(256, 3)
    content = tiff(np.asarray(image)[..., None], 8, 3, {320: tuple(colours.T.ravel().tolist())})
    assert (np.asarray(read_rgb(content)) == np.asarray(image.convert("RGB"))).all()


@pytest.mark.parametrize("extra", [{}, {338: (0,)}, {338: (2,)}], ids=["none", "0", "alpha"])
@pytest.mark.parametrize("kind", ["u1", "u2"])
def test_four_bands_in_planes_are_read(extra, kind):
    values = np.concatenate([COLOURS, np.full((8, 12, 1), 255, np.uint8)], axis=-1).astype(kind)
    bits = 8 * values.itemsize
    content = tiff(values, bits, 2, extra, planes=True)
    assert (by_its_own_range(content) == by_its_own_range(tiff(values, bits, 2, extra))).all()
    assert (by_its_own_range(content) == COLOURS).all()


@pytest.mark.parametrize("bits", [12, 16])
def test_bits_that_run_backwards_are_turned(bits):
    values = (COLOURS.astype("u2") << (bits - 8)) | 3
    content = tiff(values, bits, 2)
    data = len(content) - 8 * 12 * 3 * bits // 8
    turned = bytes(int(f"{byte:08b}"[::-1], 2) for byte in content[data:])
    backwards = tiff(values, bits, 2, {266: (2,)})[: -len(turned)] + turned
    assert (by_its_own_range(backwards) == by_its_own_range(content)).all()


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("planes", [False, True])
@pytest.mark.parametrize("extra", [1, 2])
def test_grey_with_alpha_is_read_however_it_is_stored(bits, planes, extra):
    most = 2**bits - 1
    alpha = np.where(np.arange(12) < 6, 1.0, 0.5)[None, :, None].repeat(8, axis=0)
    alpha[:, 9:] = 0
    stored = GREY * alpha if extra == 1 else GREY
    values = np.round(np.concatenate([stored, alpha], -1) * most).astype(f"u{bits // 8}")
    content = tiff(values, bits, 1, {338: (extra,)}, planes=planes)
    found = np.asarray(read_rgb(content, PixelRules(background=(0, 0, 255))))
    expected = 255 * (GREY * alpha + (0, 0, 1) * (1 - alpha))
    assert np.abs(found - expected).max() <= 2


# Lab


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("photometric", [8, 9], ids=["CIE", "ICC"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_lab_of_a_tiff_becomes_rgb(photometric, bits, order):
    colours = np.asarray(picture(3, 4, 3).resize((24, 16), Image.Resampling.BICUBIC))
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    lab = ImageCms.profileToProfile(Image.fromarray(colours), *profiles, outputMode="LAB")
    lightness, *others = np.moveaxis(np.asarray(lab).astype(int), -1, 0)
    others = [(band ^ 0x80) - 0x80 for band in others]  # -128 to 127
    values = np.stack([lightness, *others], axis=-1)
    if bits == 16:
        values[..., 0] = lightness * (257 if photometric == 8 else 256)
        values[..., 1:] *= 256
    values[..., 1:] += 1 << (bits - 1) if photometric == 9 else 0
    content = tiff((values & (2**bits - 1)).astype(f"u{bits // 8}"), bits, photometric, order=order)
    found = np.asarray(read_rgb(content)).astype(int)
    assert np.abs(found - colours).mean() < 4
    turned = tiff((values & (2**bits - 1)).astype(f"u{bits // 8}"), bits, photometric, {274: (3,)})
    assert np.abs(np.asarray(read_rgb(turned)).astype(int) - colours[::-1, ::-1]).mean() < 4
