import numpy as np
import pytest
from PIL import Image

from tests.helpers.tiny_sources import encode, picture
from transfer.decoding.rgb import BadImageError, read_rgb


def refusal(content: bytes) -> str:
    with pytest.raises(BadImageError) as error:
        read_rgb(content)
    return str(error.value)


# Zeros at the end of pixels that are stored as they are


def ends_in_zeros(content: bytes, share: float, trailer: int = 0) -> bytes:
    count = int((len(content) - trailer) * share)
    return (
        content[: len(content) - trailer - count] + bytes(count) + content[len(content) - trailer :]
    )


STORED = {
    "BMP": ("RGB", 0),
    "grey BMP": ("L", 0),
    "TIFF": ("RGB", 0),
    "PPM": ("RGB", 0),
    "TGA": ("RGB", 26),
}


@pytest.mark.parametrize(("kind", "of"), STORED.items())
@pytest.mark.parametrize("share", [0.13, 0.42, 0.66])
def test_a_stored_picture_that_ends_in_zeros_from_the_middle_of_a_row_is_refused(kind, of, share):
    mode, trailer = of
    noise = np.random.default_rng(0).integers(1, 255, (40, 60, 3), np.uint8)
    content = encode(Image.fromarray(noise).convert(mode), kind.split()[-1])
    assert read_rgb(content).size == (60, 40)
    words = refusal(ends_in_zeros(content, share, trailer))
    assert words.startswith("damaged or truncated: from the middle of a row on all its pixels are")


@pytest.mark.parametrize("kind", ["BMP", "TIFF", "PPM", "TGA"])
@pytest.mark.parametrize("shape", ["letterbox", "disc", "night", "slope"])
def test_a_black_area_is_no_broken_transfer(kind, shape):
    noise = np.random.default_rng(0).integers(1, 255, (40, 60, 3), np.uint8)
    y, x = np.mgrid[:40, :60]
    seen = {
        "letterbox": (y >= 6) & (y < 34),
        "disc": (x - 30) ** 2 + (y - 20) ** 2 < 300,
        "night": np.zeros((40, 60), bool),
        "slope": (y + x // 4 < 30) & (y - x // 4 > 0),
    }[shape]
    noise[~seen] = 0
    assert (np.asarray(read_rgb(encode(Image.fromarray(noise), kind))) == noise).all()


def test_a_map_that_was_turned_is_no_broken_transfer():
    noise = np.random.default_rng(0).integers(1, 255, (40, 60, 3), np.uint8)
    noise[30, 25:] = 0
    noise[31:] = 0
    tags = {33550: (1.0, 1.0, 0.0)}
    assert read_rgb(encode(Image.fromarray(noise), "TIFF", tiffinfo=tags)).size == (60, 40)
    assert "zeros" in refusal(encode(Image.fromarray(noise), "TIFF"))


# Zeros in the middle of a JPEG


def with_hole(content: bytes, size: int, share: float = 0.5) -> bytes:
    at = content.rindex(b"\xff\xda") + int((len(content) - content.rindex(b"\xff\xda")) * share)
    return content[:at] + bytes(size) + content[at + size :]


NOISY = picture(0, 200, 150)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("options", [{}, {"optimize": True}, {"restart_marker_rows": 2}])
@pytest.mark.parametrize("size", [200, 1500])
def test_a_jpeg_with_zeros_in_its_middle_is_refused(mode, options, size):
    content = encode(NOISY.convert(mode), "JPEG", quality=90, **options)
    assert read_rgb(content).size == NOISY.size
    assert refusal(with_hole(content, size)).startswith("damaged or truncated: zeros in the middle")


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("colour", [0, 127, 128, 255])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"optimize": True},
        {"progressive": True},
        {"progressive": True, "restart_marker_rows": 1},
    ],
)
def test_a_plain_jpeg_has_zeros_of_its_own(mode, colour, options):
    plain = Image.new("L", (300, 200), colour).convert(mode)
    spotted = plain.copy()
    spotted.paste("white" if colour == 0 else "black", (140, 60, 156, 76))
    for image in (plain, spotted):
        assert read_rgb(encode(image, "JPEG", **options)).size == (300, 200)


def test_zeros_in_the_metadata_of_a_jpeg_do_no_harm():
    content = encode(NOISY, "JPEG", icc_profile=bytes(5000), comment=bytes(300))
    assert read_rgb(content).size == NOISY.size
