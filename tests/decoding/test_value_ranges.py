"""Images of more than 8 bits: their samples, and the one rule for all of them."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from tests.helpers.pngs import SIGNATURE, chunk, png
from tests.helpers.tiffs import tiff
from tests.helpers.tiny_sources import encode
from transfer.decoding.opened import ALPHA_ZERO, FALSE_ALPHA, NO_DATA, SCALED, TIFF_ALPHA
from transfer.decoding.rgb import BadImageError, examine, read_rgb
from transfer.decoding.value_ranges import (
    PixelRules,
    ValueRange,
    derive_range,
    load_pixel_rules,
    write_pixel_rules,
)
from transfer.runtime.errors import PipelineError

WHITE = (255, 255, 255)
GREY = np.linspace(0, 1, 96).reshape(8, 12, 1)
COLOUR = np.random.default_rng(0).random((8, 12, 3))


def pixels(content: bytes, **ranges: tuple[float, float]) -> np.ndarray:
    return np.asarray(read_rgb(content, PixelRules(ranges)))


def refusal(content: bytes, **ranges: tuple[float, float]) -> str:
    with pytest.raises(BadImageError) as error:
        read_rgb(content, PixelRules(ranges))
    return str(error.value)


def as_integers(values: np.ndarray, most: int, kind: str = "u2") -> np.ndarray:
    return np.round(values * most).astype(kind)


def near(found: np.ndarray, share: np.ndarray) -> bool:
    return np.abs(found.astype(float) - 255 * np.broadcast_to(share, found.shape)).max() <= 1


# What each format says by itself


@pytest.mark.parametrize("bits", [10, 12, 14])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("values", [GREY, COLOUR], ids=["grey", "RGB"])
def test_the_bits_of_a_tiff_are_its_range(bits, order, values):
    photometric = 1 if values is GREY else 2
    content = tiff(as_integers(values, 2**bits - 1), bits, photometric, order=order)
    assert near(pixels(content), values)
    assert examine(content, WHITE).value_range is None


@pytest.mark.parametrize(("most", "bands"), [(4095, 1), (1023, 3), (100, 1), (15, 3)])
def test_the_maximum_of_a_pgm_or_ppm_is_its_range(most, bands):
    values = GREY if bands == 1 else COLOUR
    packed = as_integers(values, most, ">u2" if most > 255 else "u1").tobytes()
    header = f"P{5 if bands == 1 else 6}\n# made by a camera\n12 8\n{most}\n".encode()
    found = pixels(header + packed)
    assert np.abs(found / 255 - values).max() <= 0.51 / most + 1 / 255


def png_16(values: np.ndarray, *, significant: int | None = None, alpha: bool = False) -> bytes:
    """A PNG of 16 bits, whose lines use all filters in turn."""
    height, width, bands = values.shape
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[bands]
    lines = values.astype(">u2").reshape(height, -1).view(np.uint8).reshape(height, -1)
    step, previous, packed = 2 * bands, np.zeros(lines.shape[1], int), b""
    for number, line in enumerate(lines.astype(int)):
        left = np.concatenate([np.zeros(step, int), line[:-step]])
        kind = number % 4
        guess = [0, left, previous, (left + previous) // 2][kind]
        packed += bytes([kind]) + ((line - guess) % 256).astype(np.uint8).tobytes()
        previous = line

    return (
        SIGNATURE
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0))
        + (chunk(b"sBIT", bytes([significant]) * bands) if significant else b"")
        + chunk(b"IDAT", zlib.compress(packed))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("bands", [1, 3])
def test_significant_bits_of_a_png_are_its_range(bands):
    values = GREY if bands == 1 else COLOUR
    assert near(pixels(png_16(as_integers(values, 4095), significant=12)), values)


@pytest.mark.parametrize("bands", [1, 2, 3, 4])
def test_every_sixteen_bit_png_keeps_its_range_and_alpha(bands):
    values = np.random.default_rng(bands).random((8, 12, bands))
    alpha = values[..., -1:] if bands in (2, 4) else 1
    expected = values[..., : 1 if bands < 3 else 3] * alpha + (1 - alpha)
    assert near(pixels(png_16(as_integers(values, 65535))), expected)


@pytest.mark.parametrize("tags", [{281: (3000,)}, {281: (3000,) * 3, 280: (0,) * 3}])
def test_a_declared_maximum_of_a_tiff_is_its_range(tags):
    content = tiff(as_integers(COLOUR, 3000), 16, 2, tags)
    assert near(pixels(content), COLOUR)


# What one rule says for the whole data set


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        ("unsigned", (0, 200), (0, 255)),
        ("unsigned", (12, 800), (0, 1023)),
        ("unsigned", (0, 3000), (0, 4095)),
        ("unsigned", (0, 10_000), (0, 16_383)),
        ("unsigned", (0, 40_000), (0, 65_535)),
        ("unsigned", (0, 70_000), (0, 2**24 - 1)),
        ("unsigned", (0, 2.0**40), (0, 2.0**40)),
        ("unsigned", (29_000, 31_000), (29_000, 31_000)),
        ("unsigned", (150, 250), (0, 255)),
        ("unsigned", (3000, 3000), (0, 4095)),
        ("signed", (0, 100), (0, 127)),
        ("signed", (0, 3000), (0, 4095)),
        ("signed", (0, 20_000), (0, 32_767)),
        ("signed", (-1000, 2000), (-1000, 2000)),
        ("float", (0, 0.7), (0, 1)),
        ("float", (0, 250), (0, 255)),
        ("float", (0.6, 0.9), (0, 1)),
        ("float", (0, 0.02), (0, 0.02)),
        ("float", (-0.01, 0.02), (-0.01, 0.02)),
        ("float", (270, 310), (270, 310)),
        ("float", (0, 1.4), (0, 1.4)),
        ("float", (0, 90), (0, 90)),
        ("float", (-0.9, 0.8), (-1, 1)),
        ("float", (-3, 8), (-3, 8)),
        ("float", (0, 0), (0, 1)),
        ("signed", (-5, -5), (-5, -4)),
    ],
)
def test_the_rule_of_a_data_set(kind, values, expected):
    low, high = values
    assert derive_range([ValueRange(kind, low, low), ValueRange(kind, low, high)]) == expected


@pytest.mark.parametrize("kind", ["u2", "f4"])
def test_hot_and_dead_pixels_decide_no_range(kind):
    values = np.random.default_rng(0).integers(100, 4000, (60, 60, 1)).astype(kind)
    values[7, 7], values[8, 8] = 65_535, 0
    found = examine(tiff(values, values.itemsize * 8), WHITE).value_range
    assert 100 <= found.low < 120
    assert 3980 < found.high < 4000


def test_what_all_declare_is_the_rule_and_what_they_declare_differently_is_none():
    same = [ValueRange("unsigned", 0, high, (0, 3000)) for high in (10, 2000)]
    assert derive_range(same) == (0, 3000)
    other = ValueRange("unsigned", 0, 500, (0, 500))
    assert derive_range([*same, other]) == (0, 4095)
    assert derive_range([*same, ValueRange("unsigned", 0, 9000)]) == (0, 16_383)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("kind", "values", "black", "white"),
    [
        ("unsigned", as_integers(COLOUR, 3000), 0, 3000),
        ("signed", as_integers(GREY, 3000, "i4").astype("i2") - 1000, -1000, 2000),
        ("signed", as_integers(COLOUR, 200, "i4").astype("i1") - 100, -100, 100),
        ("float", GREY.astype("f4"), 0, 1),
        ("float", GREY.astype("f8"), 0, 1),
        ("float", COLOUR.astype("f4") * 255, 0, 255),
        ("unsigned", as_integers(GREY, 2**20, "u4"), 0, 2**20),
    ],
)
def test_samples_are_scaled_by_the_rule(order, kind, values, black, white):
    if values.dtype.itemsize == 1:
        values = np.clip(values, -100, 100)
    photometric = 2 if values.shape[-1] == 3 else 1
    content = tiff(values, 8 * values.dtype.itemsize, photometric, order=order)
    share = (values.astype(float) - black) / (white - black)
    assert near(pixels(content, **{kind: (black, white)}), np.clip(share, 0, 1))
    found = examine(content, WHITE)
    assert found.value_range == ValueRange(kind, values.min(), values.max())
    assert found.remarks == (SCALED,)


def test_values_beyond_the_rule_are_cut():
    content = tiff(np.array([[[0], [4095], [60_000]]], "u2"), 16)
    assert pixels(content, unsigned=(0, 4095))[0, :, 0].tolist() == [0, 255, 255]


@pytest.mark.parametrize("kind", ["signed", "float"])
def test_without_a_rule_signed_and_floating_point_samples_are_refused(kind):
    values = GREY.astype("f4") if kind == "float" else as_integers(GREY, 3, "i2") - 2
    words = refusal(tiff(values, 8 * values.dtype.itemsize))
    assert "whose range is unknown: the training images have none" in words


def test_samples_that_are_no_numbers_are_refused():
    values = COLOUR.astype("f4").copy()
    values[0, 0, 0] = np.nan
    assert "not numbers (NaN or infinite)" in refusal(tiff(values, 32, 2))

    assert "not numbers (NaN or infinite)" in refusal(tiff(values, 32, 2), float=(0, 1))


@pytest.mark.parametrize("kind", ["f2", "f4", "f8"])
@pytest.mark.parametrize("hole", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("bands", [1, 3])
def test_what_is_no_number_in_any_band_is_no_data(kind, hole, bands):
    values = COLOUR[..., :bands].astype(kind)
    values[0] = hole
    content = tiff(values, 8 * values.itemsize, 1 if bands == 1 else 2)
    assert examine(content, WHITE).remarks == (SCALED, NO_DATA)
    found = pixels(content, float=(0, 1))
    assert (found[0] == 255).all()
    assert near(found[1:], COLOUR[1:, :, :bands])


def test_holes_of_a_floating_point_map_are_no_data():
    values = np.concatenate([np.full((2, 12), np.inf), GREY[2:, :, 0]]).astype("<f4")
    found = pixels(b"Pf\n12 8\n-1.0\n" + values[::-1].tobytes(), float=(0, 1))
    assert (found[:2] == 255).all()
    assert near(found[2:], GREY[2:])


def test_pixels_without_data_are_background_and_count_for_no_range():
    values = as_integers(GREY, 3000, "i2")
    values[0] = -9999
    content = tiff(values, 16, tags={42113: "-9999"})
    assert examine(content, WHITE).value_range.low > 0
    found = np.asarray(read_rgb(content, PixelRules({"signed": (0, 3000)}, background=(9, 8, 7))))
    assert (found[0] == (9, 8, 7)).all()
    assert near(found[1:], GREY[1:])


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_packed_samples_are_unpacked(compression):
    ramp = as_integers(GREY[..., 0], 4095)
    content = encode(Image.fromarray(ramp), "TIFF", compression=compression)
    assert near(pixels(content, unsigned=(0, 4095)), GREY)


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "zstd", "lzma"])
@pytest.mark.parametrize(("kind", "predictor"), [("i4", 2), ("f4", 2), ("f4", 3)])
def test_samples_packed_as_differences_are_unpacked(compression, kind, predictor):
    values = (GREY[..., 0] * 1000).astype(kind)
    tags = {317: predictor}
    content = encode(Image.fromarray(values), "TIFF", compression=compression, tiffinfo=tags)
    found = pixels(content, **{"signed" if kind == "i4" else "float": (0, 1000)})
    assert near(found, values[..., None] / 1000)


@pytest.mark.parametrize("compression", ["raw", "packbits"])
def test_a_predictor_that_a_packing_does_not_know_is_ignored(compression):
    values = (GREY[..., 0] * 1000).astype("i4")
    content = encode(Image.fromarray(values), "TIFF", compression=compression, tiffinfo={317: 2})
    assert near(pixels(content, signed=(0, 1000)), values[..., None] / 1000)


@pytest.mark.parametrize("alpha", [0, 30_000])
def test_alpha_of_sixteen_bits_that_is_the_same_everywhere_is_ignored(alpha):
    values = np.concatenate([COLOUR * 65535, np.full((8, 12, 1), alpha)], axis=-1)
    found = examine(png(values, 16), WHITE)
    assert near(np.asarray(found.image), COLOUR / COLOUR.max())
    assert found.remarks == (SCALED, ALPHA_ZERO)


@pytest.mark.parametrize("bands", [5, 13])
def test_bands_of_unknown_meaning_are_refused(bands):
    content = tiff(np.zeros((4, 4, bands), "u2"), 16, 1, {338: (0,) * (bands - 1)})
    assert refusal(content).startswith(f"{bands} bands, of which nothing says which are red")


@pytest.mark.parametrize("bits", [8, 16])
def test_three_bands_that_a_tiff_calls_grey_are_red_green_and_blue(bits):
    most = 2**bits - 1
    content = tiff(as_integers(COLOUR, most, f"u{bits // 8}"), bits, 1, {338: (0, 0)})
    assert near(pixels(content), COLOUR)


# A fourth band


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("extra", [{}, {338: (0,)}], ids=["undescribed", "unspecified"])
def test_a_fourth_band_that_is_not_called_alpha_is_none(bits, extra):
    infrared = np.full((8, 12, 1), 0.1)
    values = np.concatenate([COLOUR, infrared], axis=-1)
    content = tiff(as_integers(values, 2**bits - 1, f"u{bits // 8}"), bits, 2, extra)
    assert near(pixels(content), COLOUR)


@pytest.mark.parametrize("bits", [8, 16])
def test_infrared_that_is_called_alpha_is_known_by_its_values(bits):
    infrared = np.random.default_rng(1).uniform(0.05, 0.9, (8, 12, 1))
    values = np.concatenate([COLOUR, infrared], axis=-1)
    content = tiff(as_integers(values, 2**bits - 1, f"u{bits // 8}"), bits, 2, {338: (2,)})
    found = examine(content, WHITE)
    assert found.tiff_alpha is False
    assert near(np.asarray(found.image), COLOUR if bits == 8 else COLOUR / COLOUR.max())
    found = np.asarray(read_rgb(content, PixelRules(tiff_alpha=False)))
    assert near(found, COLOUR)


def test_alpha_of_a_tiff_is_known_by_its_values():
    alpha = np.zeros((8, 12, 1))
    alpha[2:6, 3:9] = 1
    content = tiff(as_integers(np.concatenate([COLOUR, alpha], -1), 255, "u1"), 8, 2, {338: (2,)})
    assert examine(content, WHITE).tiff_alpha is True
    assert near(np.asarray(read_rgb(content)), np.where(alpha == 1, COLOUR, 1))


def test_a_dropped_band_is_remarked():
    values = np.concatenate([COLOUR, np.full((8, 12, 1), 0.1)], axis=-1)
    content = tiff(as_integers(values, 255, "u1"), 8, 2, {338: (0,)})
    assert examine(content, WHITE).remarks == (TIFF_ALPHA,)


@pytest.mark.parametrize("bits", [8, 16])
def test_infrared_in_a_png_is_known_by_its_values_too(bits):
    infrared = np.random.default_rng(1).uniform(0.05, 0.9, (8, 12, 1))
    values = as_integers(np.concatenate([COLOUR, infrared], axis=-1), 2**bits - 1, f"u{bits // 8}")
    content = png(values, bits)
    found = examine(content, WHITE)
    assert (found.alpha, found.tiff_alpha) == (False, None)
    assert FALSE_ALPHA in found.remarks
    assert near(np.asarray(read_rgb(content, PixelRules(alpha=False))), COLOUR)
    assert not near(np.asarray(read_rgb(content)), COLOUR)


def test_soft_transparency_of_a_png_is_kept():
    alpha = np.clip(np.linspace(-0.5, 1.5, 12), 0, 1)[None, :, None].repeat(8, axis=0)
    values = as_integers(np.concatenate([COLOUR, alpha], -1), 255, "u1")
    assert examine(png(values, 8), WHITE).alpha is True
    values[..., :3] = 0  # a drawing that its transparency alone shows
    values[..., 3] = np.clip(values[..., 3], 9, 240)
    assert examine(png(values, 8), WHITE).alpha is None


# The file between the stages


def test_rules_are_read_back(tmp_path):
    for alpha in (True, False):
        rules = PixelRules({"unsigned": (0, 4095), "float": (0, 1)}, tiff_alpha=False, alpha=alpha)
        write_pixel_rules(rules, tmp_path / "pixels.json")
        assert load_pixel_rules(WHITE, tmp_path / "pixels.json") == rules
    assert load_pixel_rules((1, 2, 3), tmp_path / "none.json") == PixelRules(background=(1, 2, 3))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"ranges": {}}',
        '{"ranges": {"u": [0, 1]}, "tiff_alpha": true}',
        '{"ranges": {"float": [1, 1]}, "tiff_alpha": true}',
        '{"ranges": {"float": [1]}, "tiff_alpha": true}',
        '{"ranges": {}, "tiff_alpha": true, "alpha": 1}',
    ],
)
def test_damaged_rules_are_refused(tmp_path, text):
    (tmp_path / "pixels.json").write_text(text)
    with pytest.raises(PipelineError, match="is damaged .*; delete it and run `dvc repro split`"):
        load_pixel_rules(WHITE, tmp_path / "pixels.json")


def test_a_rotated_deep_image_is_upright():
    ramp = Image.fromarray(as_integers(GREY[..., 0], 65535))
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    ramp.save(buffer, "PNG", exif=exif)
    assert near(pixels(buffer.getvalue()), np.rot90(GREY, -1))
