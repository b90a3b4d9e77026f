"""The client of docs/export.md, which reads a picture file, gives the pixels of the stages."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers.tiny_sources import encode, picture
from transfer.decoding.rgb import read_rgb

PAGE = Path(__file__).parents[2] / "docs" / "export.md"
COLOUR, GREY = picture(0, 12, 8), picture(1, 12, 8).convert("L")


def with_alpha(image: Image.Image, alpha: Image.Image | int) -> Image.Image:
    copy = image.copy()
    copy.putalpha(alpha)
    return copy


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[274] = orientation
    return exif


FILES = {
    "grey": encode(GREY),
    "grey with alpha": encode(with_alpha(GREY, GREY)),
    "alpha": encode(with_alpha(COLOUR, GREY)),
    "alpha of WebP": encode(with_alpha(COLOUR, GREY), "WEBP", lossless=True),
    "transparent throughout": encode(with_alpha(COLOUR, 0)),
    "half transparent throughout": encode(with_alpha(COLOUR, 128)),
    "a transparent colour of a palette": encode(COLOUR.convert("P"), "GIF", transparency=3),
    "alpha of a palette": encode(COLOUR.convert("P"), transparency=bytes(range(256))),
    "turned": encode(COLOUR, "JPEG", exif=turned(6)),
    "CMYK": encode(COLOUR.convert("CMYK"), "JPEG"),
    "one bit": encode(COLOUR.convert("1")),
    "16 bits of grey": encode(Image.fromarray(np.asarray(GREY, np.uint16) * 257)),
    "1 x 1": encode(picture(0, 1, 1)),
    "1 x 5000": encode(picture(0, 1, 5000)),
    "5000 x 1": encode(picture(0, 5000, 1)),
}


@pytest.mark.parametrize("name", FILES)
def test_the_client_of_the_page_gives_the_pixels_of_the_stages(name):
    (code,) = re.findall(r"```python\n([^`]*def read_rgb[^`]*)```", PAGE.read_text("utf-8"))
    documented = {}
    exec(code, documented)  # noqa: S102, which is the page's own
    client = documented["read_rgb"](io.BytesIO(FILES[name]))
    assert (np.asarray(client) == np.asarray(read_rgb(FILES[name]))).all()
