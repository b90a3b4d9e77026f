"""Formats beyond the usual ones, transparency that is none, and JPEGs that break off."""

import base64
import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from tests.helpers import jpeg2000
from tests.helpers.tiny_sources import encode, picture
from transfer.decoding import jpeg2000_file, pillow_file
from transfer.decoding.heif_items import end_of_pictures
from transfer.decoding.opened import ALPHA_ZERO, ANIMATION, EMPTY_FRAMES, FLATTENED, NO_END
from transfer.decoding.rgb import BadImageError, examine, parse_colour, read_rgb
from transfer.decoding.value_ranges import PixelRules

WHITE = (255, 255, 255)
SMOOTH = picture(0, 3, 3).resize((48, 32), Image.Resampling.BICUBIC)


def refusal(content: bytes, background: str = "white") -> str:
    with pytest.raises(BadImageError) as error:
        read_rgb(content, PixelRules(background=parse_colour(background)))
    return str(error.value)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PPM", {}),
        ("TGA", {}),
        ("TGA", {"compression": "tga_rle"}),
        ("PCX", {}),
        ("SGI", {}),
        ("JPEG2000", {"irreversible": False}),
        ("QOI", {}),
    ],
)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_formats_without_loss_give_the_very_pixels(kind, options, mode):
    image = picture(0).convert("RGB" if kind == "QOI" else mode)  # which has no grey
    found = np.asarray(read_rgb(encode(image, kind, **options)))
    assert (found == np.asarray(image.convert("RGB"))).all()


def test_a_tga_without_its_footer_is_known_by_its_length():
    content = encode(picture(0), "TGA").removesuffix(bytes(8) + b"TRUEVISION-XFILE.\0")
    assert not content.endswith(b"\0\0TRUEVISION-XFILE.\0")
    assert (np.asarray(read_rgb(content)) == np.asarray(picture(0))).all()


def test_avif_comes_close():
    found = np.asarray(read_rgb(encode(SMOOTH, "AVIF", quality=90))).astype(int)
    assert np.abs(found - np.asarray(SMOOTH)).mean() < 12


def test_the_largest_picture_of_an_icon_is_read():
    icon = picture(0, 48, 48)
    content = encode(icon, "ICO", sizes=[(16, 16), (48, 48)])
    assert (np.asarray(read_rgb(content)) == np.asarray(icon)).all()


@pytest.mark.parametrize("inner", ["PNG", "BMP"])
def test_an_icon_that_would_unpack_to_gigabytes_is_refused(inner):
    if inner == "PNG":
        picture_header = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 60_000, 60_000)
    else:
        picture_header = struct.pack("<IiiHHIIiiII", 40, 60_000, 60_000, 1, 32, 0, 0, 0, 0, 0, 0)
    header = struct.pack("<HHH", 0, 1, 1) + struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, 99, 22)
    words = refusal(header + picture_header + bytes(99))
    assert words.startswith("60000 x 60000 pixels, more than the 100,000,000 that are allowed")


def test_heic_is_named_where_it_is_not_read(monkeypatch):
    monkeypatch.setattr(pillow_file, "reads_heic", lambda: False)
    content = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200)
    assert refusal(content).startswith(
        "a HEIC image, as phones save it; run `make .venv/extra-heic`"
    )


def heic(image: Image.Image, **options) -> bytes:
    package = pytest.importorskip("pillow_heif")
    package.register_heif_opener()
    return encode(image, "HEIF", **options)


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_heic_is_read_and_upright(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = {1: SMOOTH, 3: SMOOTH.rotate(180), 6: SMOOTH.rotate(90, expand=True)}[orientation]
    found = examine(heic(stored, exif=exif.tobytes(), quality=90), WHITE)
    assert found.image.size == SMOOTH.size
    assert np.abs(np.asarray(found.image).astype(int) - np.asarray(SMOOTH)).mean() < 12
    assert found.remarks == ()


def test_transparency_of_heic_is_laid_over_the_background():
    image = SMOOTH.convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(SMOOTH.size).point(lambda x: 255 * (x > 99)))
    content = heic(image, quality=90)
    found = np.asarray(read_rgb(content, PixelRules(background=(0, 0, 255))))
    assert np.abs(found[0].astype(int) - (0, 0, 255)).max() <= 3
    assert examine(content, WHITE).remarks == (FLATTENED,)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_heic_that_is_cut_off_is_refused(share):
    content = heic(SMOOTH)
    words = refusal(content[: int(len(content) * share)])
    assert words.startswith("damaged or truncated: ")
    assert "\n" not in words


@pytest.mark.parametrize("tag", [{50706: b"\1\4\0\0"}, {254: 1, 330: 8}])
def test_a_preview_in_a_cameras_raw_file_is_not_taken_for_the_picture(tag):
    assert refusal(encode(picture(0), "TIFF", tiffinfo=tag)).startswith("a camera's RAW file")


def test_a_raw_file_of_phase_one_is_called_so():
    content = encode(picture(0), "TIFF")
    start = 8 + len(b"IIIITwaR")
    moved = content[:4] + struct.pack("<I", int.from_bytes(content[4:8], "little") + 8)
    assert refusal(moved + b"IIIITwaR" + content[start - 8 :]).startswith("a camera's RAW file")


def test_lab_becomes_rgb():
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    lab = ImageCms.profileToProfile(SMOOTH, *profiles, outputMode="LAB")
    found = np.asarray(read_rgb(encode(lab, "TIFF"))).astype(int)
    assert np.abs(found - np.asarray(SMOOTH)).mean() < 4


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_an_animation_is_remarked(kind):
    frames = [picture(seed).convert("P") if kind == "GIF" else picture(seed) for seed in (0, 1)]
    content = encode(frames[0], kind, save_all=True, append_images=frames[1:])
    assert ANIMATION in examine(content, WHITE).remarks
    assert examine(encode(frames[0], kind), WHITE).remarks == ()


def test_the_pictures_of_a_phone_are_no_animation():
    content = encode(picture(0), "MPO", save_all=True, append_images=[picture(1)])
    assert examine(content, WHITE).remarks == ()


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_an_animation_that_begins_with_nothing_gives_its_first_picture(kind):
    nothing = Image.new("RGBA", (12, 8), (0, 0, 0, 0))
    frames = [nothing, nothing.copy(), picture(0).convert("RGBA"), picture(1).convert("RGBA")]
    options = {"lossless": True} if kind == "WEBP" else {"duration": [10, 20, 30, 40]}
    content = encode(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    found = examine(content, WHITE)
    difference = np.abs(np.asarray(found.image).astype(int) - np.asarray(picture(0)))
    assert difference.mean() < (12 if kind == "GIF" else 1)
    assert found.remarks == (EMPTY_FRAMES,)


def test_what_pillow_lacks_is_not_called_damaged():
    header = struct.pack("<IiiHHIIiiII", 40, 4, 4, 1, 0, 5, 60, 0, 0, 0, 0)  # a PNG in a BMP
    words = refusal(b"BM" + struct.pack("<IHHI", 114, 0, 0, 54) + header + bytes(60))
    assert words.startswith("damaged, or of a kind that is not read: Unsupported BMP")


@pytest.mark.parametrize("more", [0, 1])
def test_a_gif_that_covers_a_part_of_its_screen_lies_on_the_background(more):
    frames = [picture(seed).quantize(16) for seed in range(2)]
    options = {"save_all": True, "append_images": frames[1:]} if more else {}
    content = bytearray(encode(frames[0], "GIF", **options))
    content[6:10] = struct.pack("<HH", 24, 16)  # of the screen
    place = content.index(b"\x2c\0\0\0\0\x0c\0\x08\0")
    content[place + 1 : place + 5] = struct.pack("<HH", 6, 4)
    found = examine(bytes(content), (0, 0, 255))
    pixels = np.asarray(found.image)
    assert (pixels[4:12, 6:18] == np.asarray(frames[0].convert("RGB"))).all()
    assert (pixels[:4] == (0, 0, 255)).all()
    assert (pixels[:, 18:] == (0, 0, 255)).all()
    assert found.remarks == ((ANIMATION,) if more else ()) + (FLATTENED,)


# Samples of formats that Pillow cuts to 8 bits


def pfm(values: np.ndarray, order: str) -> bytes:
    height, width, bands = values.shape
    kind, scale = ("PF" if bands == 3 else "Pf"), (-1.0 if order == "<" else 1.0)
    return (
        f"{kind}\n{width} {height}\n{scale}\n".encode()
        + values[::-1].astype(f"{order}f4").tobytes()
    )


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bands", [1, 3])
def test_floating_point_maps_are_read(order, bands):
    values = np.random.default_rng(0).random((8, 12, bands))
    found = np.asarray(read_rgb(pfm(values, order), PixelRules({"float": (0, 1)})))
    assert np.abs(found - values * 255).max() <= 1
    assert refusal(pfm(values, order)[:-1]).startswith("damaged or truncated: ")


def test_twelve_bits_in_sixteen_of_jpeg_2000_follow_the_rule_of_the_data_set():
    values = np.linspace(0, 4095, 96).reshape(8, 12).astype("u2")
    content = encode(Image.fromarray(values), "JPEG2000", irreversible=False)
    assert examine(content, WHITE).value_range.high == 4095
    found = np.asarray(read_rgb(content, PixelRules({"unsigned": (0, 4095)})))
    assert np.abs(found[..., 0] - values / 4095 * 255).max() <= 1


# 4 x 4 pixels of colour of 16 bits, black around 4000, which OpenJPEG wrote.
DARK_J2K = base64.b64decode(
    "/0//UQAvAAAAAAAEAAAABAAAAAAAAAAAAAAABAAAAAQAAAAAAAAAAAADDwEBDwEBDwEB/1IADAAAAAEBAAQEAAH/XAAE"
    "QID/ZAAlAAFDcmVhdGVkIGJ5IE9wZW5KUEVHIHZlcnNpb24gMi41LjT/kAAKAAAAAAAjAAH/k9/4kHgRUVRnuMjU1gwh"
    "CCYb7h+AgP/Z"
)


def test_dark_sixteen_bit_colour_of_jpeg_2000_is_refused_with_a_remedy():
    assert refusal(DARK_J2K) == (
        "a JPEG 2000 image of 16-bit colour that uses less than a quarter of its range, and of "
        "which 8 bits are all that can be read; save it as a PNG or TIFF of 16 bits"
    )


@pytest.mark.parametrize(
    "content", [jpeg2000.BRIGHT, jpeg2000.LOSSY_BRIGHT], ids=["exact", "lossy"]
)
def test_the_highest_values_of_deep_colour_in_jpeg_2000_are_white_and_not_black(content):
    found = np.asarray(read_rgb(content)).reshape(4, 3)
    expected = [[0, 255, 117], [255, 255, 255], [255, 0, 255], [0, 255, 0]]
    assert np.abs(found.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("bits", jpeg2000.FEW_BITS)
def test_few_bits_in_jpeg_2000_reach_white(bits):
    found = np.asarray(read_rgb(jpeg2000.FEW_BITS[bits]))
    assert found[..., 0].tolist() == [[0, 255], [round(255 / (2**bits - 1)), 0]]


def test_deep_colour_in_jpeg_2000_that_cannot_be_read_twice_is_refused(monkeypatch):
    monkeypatch.setattr(jpeg2000_file, "_with_one_bit_more", lambda content, start: content[:90])
    assert refusal(jpeg2000.BRIGHT).startswith(
        "a JPEG 2000 image of more than 8 bits whose highest"
    )


# Transparency


def with_alpha(image: Image.Image, alpha: int | Image.Image) -> Image.Image:
    image = image.convert("RGBA")
    image.putalpha(alpha)
    return image


@pytest.mark.parametrize(
    ("alpha", "kind"),
    [(0, "PNG"), (1, "PNG"), (128, "PNG"), (254, "PNG"), (0, "TIFF"), (128, "WEBP")],
)
def test_alpha_that_is_the_same_everywhere_is_ignored(alpha, kind):
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    found = examine(encode(with_alpha(picture(0), alpha), kind, **options), WHITE)
    assert (np.asarray(found.image) == np.asarray(picture(0))).all()
    assert found.remarks == (ALPHA_ZERO,)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "GIF"])
def test_nothing_at_all_is_refused(kind):
    content = encode(Image.new("RGBA", (12, 8), (0, 0, 0, 0)), kind)
    assert refusal(content).startswith("blank: every pixel is transparent")


def test_a_palette_that_is_transparent_throughout_is_kept():
    image = picture(0).quantize(8)
    content = encode(image, "PNG", transparency=bytes(8))
    assert (np.asarray(read_rgb(content)) == np.asarray(image.convert("RGB"))).all()


@pytest.mark.parametrize(
    ("background", "expected"),
    [("white", 255), ("black", 0), ("#808080", 128), ("rgb(9, 9, 9)", 9)],
)
def test_the_background_is_a_parameter(background, expected):
    mask = Image.new("L", (12, 8), 255)
    mask.paste(0, (0, 0, 6, 8))
    content = encode(with_alpha(picture(0), mask), "PNG")
    found = np.asarray(read_rgb(content, PixelRules(background=parse_colour(background))))
    assert (found[:, :6] == expected).all()
    assert (found[:, 6:] == np.asarray(picture(0))[:, 6:]).all()
    assert examine(content, WHITE).remarks == (FLATTENED,)


@pytest.mark.parametrize("ink", ["white", "black"])
def test_a_picture_that_its_background_hides_is_refused(ink):
    mask = Image.new("L", (12, 8), 0)
    mask.paste(200, (2, 2, 6, 6))
    content = encode(with_alpha(Image.new("RGB", (12, 8), ink), mask), "PNG")
    words = refusal(content, background=ink)
    assert words.startswith("blank: its visible pixels have the colour of the background")
    assert "decode.background = #" in words
    other = "black" if ink == "white" else "white"
    found = np.asarray(read_rgb(content, PixelRules(background=parse_colour(other))))
    assert found.max() - found.min() > 150


# Transfers that break off


@pytest.mark.parametrize(
    ("kind", "options"),
    [("WEBP", {}), ("WEBP", {"lossless": True}), ("AVIF", {}), ("QOI", {}), ("HEIF", {})],
)
def test_zeros_at_the_end_of_compressed_pixels_are_refused(kind, options):
    large = picture(0, 80, 60)
    whole = heic(large) if kind == "HEIF" else encode(large, kind, **options)
    half = whole[: len(whole) // 2] + bytes(len(whole) - len(whole) // 2)
    assert "bytes are zeros, as a transfer that broke off leaves them" in refusal(half)
    padded = whole + bytes(5000)  # to the length of a block
    assert (np.asarray(read_rgb(padded)) == np.asarray(read_rgb(whole))).all()


@pytest.mark.parametrize("colour", ["white", "black"])
@pytest.mark.parametrize("kind", ["WEBP", "AVIF", "QOI"])
def test_plain_images_are_not_taken_for_broken_ones(kind, colour):
    image = Image.new("RGB", (600, 600), colour)
    image.paste((200, 30, 40), (10, 10, 60, 50))
    assert read_rgb(encode(image, kind)).size == (600, 600)


@pytest.mark.parametrize("kind", ["WEBP", "AVIF", "HEIF"])
def test_metadata_that_ends_in_zeros_is_no_broken_transfer(kind):
    exif = Image.Exif()
    exif[0xEA1C] = b"\x1c\xea" + bytes(2060)  # room that Windows leaves for more
    options = {"exif": exif.tobytes()}
    whole = heic(SMOOTH, **options) if kind == "HEIF" else encode(SMOOTH, kind, **options)
    assert whole.count(bytes(2000))
    assert read_rgb(whole).size == SMOOTH.size


@pytest.mark.parametrize("damage", [0, 0x40, 0xFF])
def test_a_table_of_items_may_be_damaged_anywhere(damage):
    whole = encode(SMOOTH, "AVIF", exif=Image.Exif().tobytes())
    for place in range(300):
        content = whole[:place] + bytes([damage]) + whole[place + 1 :]
        assert 0 <= end_of_pictures(content) <= len(content)
    assert end_of_pictures(whole) == end_of_pictures(whole + bytes(5000)) == len(whole)
    without_table = whole.replace(b"iloc", b"skip")
    assert end_of_pictures(without_table + bytes(5000)) == len(whole)


# JPEGs that break off


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
@pytest.mark.parametrize("end", [b"", b"\xff", bytes(40)], ids=["none", "half", "zeros"])
def test_a_jpeg_that_lacks_its_end_marker_alone_is_read(options, end):
    whole = encode(SMOOTH, "JPEG", **options)
    found = examine(whole.removesuffix(b"\xff\xd9") + end, WHITE)
    assert (np.asarray(found.image) == np.asarray(read_rgb(whole))).all()
    assert found.remarks == (NO_END,)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_rows": 1}])
@pytest.mark.parametrize("share", [0.6, 0.8, 0.95])
@pytest.mark.parametrize("padding", [0, 5000])
def test_a_jpeg_that_lacks_rows_is_refused(options, share, padding):
    whole = encode(picture(0, 96, 96), "JPEG", quality=90, **options)
    words = refusal(whole[: int(len(whole) * share)] + bytes(padding))
    assert words.startswith("damaged or truncated: image file is truncated, rows of it are missing")


def test_phones_pictures_without_an_end_are_read():
    content = encode(SMOOTH, "MPO")
    assert Image.open(io.BytesIO(content)).size == SMOOTH.size
    assert examine(content.removesuffix(b"\xff\xd9"), WHITE).remarks == (NO_END,)
