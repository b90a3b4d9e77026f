"""Damaged images and archives end in an image, entries, or the project's own error, and nothing is
written anywhere."""

import base64

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.fuzz.mutations import NAMES, mutated, mutated_png, tars, zips
from tests.helpers import jpeg2000
from tests.helpers.pngs import chunk, png
from tests.helpers.profiles import ADOBE_RGB, profile
from tests.helpers.tiffs import tiff
from tests.helpers.tiny_sources import build, class_folders, encode, picture
from transfer.decoding.rgb import MAX_PIXELS, examine, read_rgb, resize
from transfer.labels.layout import find_layout
from transfer.sources.reader import read_source
from transfer.sources.source_file import MAX_FILE_BYTES

PNGS = [
    encode(picture(0)),
    encode(picture(1).convert("P"), transparency=3),
    encode(Image.fromarray(np.arange(96, dtype=np.uint16).reshape(8, 12)), transparency=4),
    encode(picture(2), save_all=True, append_images=[picture(3)]),
]
RAMP = np.arange(96 * 3).reshape(8, 12, 3) * 10
PFM = b"PF\n2 2\n-1.0\n" + np.linspace(0, 1, 12, dtype="<f4").tobytes()
TIFFS = [
    {},
    {"compression": "tiff_lzw"},
    {"compression": "jpeg"},
    {"tiffinfo": {322: 16, 323: 16}},
    {"save_all": True, "append_images": [picture(4)]},
]
# 16 x 12 pixels, written by pillow-heif; without that extra each is refused
HEICS = [
    base64.b64decode(
        "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAXxtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAA"
        "AAAAAAACJpbG9jAAAAAERAAAEAAQAAAAABoAABAAAAAAAAALcAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAABAABodmMx"
        "AAAAAA5waXRtAAAAAAABAAAA/GlwcnAAAADcaXBjbwAAAHVodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEAGEABDA"
        "H//wNwAAADAJAAAAMAAAMAHroCQGEAAQApQgEBA3AAAAMAkAAAAwAAAwAeoCCBBZbqrprm4CGgwIAAAAyAAAADAIRiAAEA"
        "BkQBwXPBiQAAABNjb2xybmNseAABAA0ABoAAAAAUaXNwZQAAAAAAAABAAAAAQAAAAChjbGFwAAAAEAAAAAEAAAAMAAAAAf"
        "///9AAAAAC////zAAAAAIAAAAQcGl4aQAAAAADCAgIAAAAGGlwbWEAAAAAAAAAAQABBYECAwWEAAAAv21kYXQAAACzKAGv"
        "EyCIEXCI9SA7y1S82GUj/jhAD7Rq/1V/gsJ6RtaRLv3ums6/z8NsAMWKhrp2C5fl4YZUOKLlIjzJKUf/8JXqIj0c8+VQ0F"
        "2N2dzmtK58CDv2ehILIx+mXWM/4sPf1V7iAEc3OMtdeOVzXBSr1qeuCg0eAyLlRBt5f0lOOkK7MhWReTzCtNxOgNAIYAVN"
        "UGlaxYzSUf5858PzA/cqjT5dwATb+hHots1P9NYo1g0+CeA="
    )
]
EXIF = b"Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0" + bytes(100)
IMAGES = {
    "PNG": PNGS,
    "HEIC": HEICS,
    "JPEG": [
        encode(picture(0), "JPEG", exif=picture(0).getexif()),
        encode(picture(1, 40, 40), "JPEG", progressive=True),
        encode(picture(0), "JPEG", icc_profile=profile(ADOBE_RGB, 2.2)),
        encode(picture(0), "MPO"),
    ],
    "GIF": [
        encode(picture(0), "GIF"),
        encode(picture(0), "GIF", save_all=True, append_images=[picture(1)], transparency=0),
    ],
    "BMP": [
        encode(picture(0), "BMP"),
        encode(picture(0).convert("1"), "BMP"),
        encode(picture(0).convert("P"), "BMP"),
    ],
    "WEBP": [
        encode(picture(0), "WEBP"),
        encode(picture(0), "WEBP", lossless=True, save_all=True, append_images=[picture(1)]),
        encode(picture(0), "WEBP", exif=EXIF),
    ],
    "TIFF": [encode(picture(0), "TIFF", **options) for options in TIFFS],
    "TIFF, deep": [
        tiff(RAMP.astype(kind), bits, photometric, tags)
        for kind, bits, photometric, tags in (
            ("u2", 12, 2, {}),
            ("u2", 16, 2, {281: (4000,)}),
            ("i2", 16, 1, {338: (0, 0)}),
            ("f4", 32, 2, {42113: "-1"}),
            ("u1", 8, 1, {42113: "10"}),
        )
    ]
    + [
        tiff(RAMP.astype("u2"), 16, 2, order=">", big=True),
        tiff(np.dstack([RAMP, RAMP[..., :1] % 2]).astype("u2"), 16, 2, {338: (1,)}),
        tiff(np.dstack([RAMP, RAMP[..., :2]]).astype("f4") / 3000, 32, 5, {338: (2,)}),
    ]
    + [
        encode(Image.fromarray(RAMP[..., 0].astype("u2")), "TIFF", compression="tiff_lzw"),
        tiff(np.dstack([RAMP, RAMP[..., :1]]).astype("u1"), 8, 2, planes=True),
        tiff(RAMP[..., :2].astype("u1"), 8, 1, {338: (1,)}),
        tiff(RAMP.astype("f2"), 16, 2, {266: (2,)}),
        tiff(RAMP[..., :1].astype("u1"), 8, 3, {320: tuple(range(256)) * 3}),
        tiff(RAMP.astype("u2"), 16, 2, {34675: profile(ADOBE_RGB, 2.2)}),
        encode(
            picture(0).getchannel(0),
            "TIFF",
            save_all=True,
            append_images=[picture(0).getchannel(1), picture(0).getchannel(2)],
            tiffinfo={270: "ImageJ=1.53\nimages=3\nchannels=3\n"},
        ),
    ],
    "PNG, deep": [
        png(np.dstack([RAMP, RAMP[..., :1]]), 16),
        png(RAMP[..., :2], 16, chunk(b"sBIT", b"\x0c\x0c")),
        png(RAMP[..., :1] % 16, 4, chunk(b"tRNS", b"\0\x03")),
    ],
    "PPM": [encode(picture(0), "PPM"), PFM, b"P5 3 2 999\n" + bytes(range(12)), b"P2 2 1 9 3 4"],
    "TGA": [encode(picture(0), "TGA"), encode(picture(0), "TGA", compression="tga_rle")],
    "ICO": [
        encode(picture(0, 16, 16), "ICO"),
        encode(picture(0, 16, 16), "ICO", bitmap_format="bmp"),
    ],
    "AVIF": [encode(picture(0), "AVIF"), encode(picture(0), "AVIF", exif=EXIF)],
    "JPEG2000": [encode(picture(0), "JPEG2000"), jpeg2000.BRIGHT, jpeg2000.LOSSY_BRIGHT],
    "PCX": [encode(picture(0), "PCX")],
    "QOI": [encode(picture(0), "QOI")],
    "SGI": [encode(picture(0), "SGI")],
}
FILES = class_folders(cat=2, dog=2)
KINDS = ["set.zip", "set.tar", "set.tar.gz", "set.tar.bz2", "set.tar.xz"]


def check_image(image: Image.Image | None) -> None:
    if image is None:
        return
    assert image.mode == "RGB"
    assert 0 < image.width * image.height <= MAX_PIXELS
    assert resize(image, 4, "bilinear").shape == (4, 4, 3)


@pytest.mark.parametrize("kind", IMAGES)
def test_a_damaged_image_is_an_image_or_refused(guard, kind):
    @given(mutated(IMAGES[kind]))
    def throw(content: bytes):
        check_image(guard(f"image {kind}", content, lambda: read_rgb(content)))
        examined = guard(f"image {kind}, scanned", content, lambda: examine(content, (9, 9, 9)))
        check_image(examined and examined.image)

    throw()


@given(mutated_png(PNGS))
def test_a_png_of_other_chunks_is_an_image_or_refused(guard, content):
    check_image(guard("image PNG", content, lambda: read_rgb(content)))


def check_entries(guard, name: str, content: bytes, source) -> None:
    """Read a source whose file is `content`: names are fit for a line, contents small enough, and
    no name climbs out."""
    source.write_bytes(content)
    entries = guard(name, content, lambda: list(read_source(source)), names=source)
    for entry in entries or []:
        entry.path.encode("utf-8")
        assert not set(entry.path) & {chr(code) for code in (*range(32), 127)}
        assert (entry.content is None) or (
            entry.problem is None and len(entry.content) <= MAX_FILE_BYTES
        )
        if not entry.problem:
            assert not entry.path.startswith("/")
            assert not {"..", ""} & set(entry.path.removesuffix("/").split("/"))
    if entries:
        layout = guard(
            "layout",
            (name, content),
            lambda: find_layout([entry.path for entry in entries], source),
            names=source,
        )
        assert layout is None or all(
            layout.place(entry.path) is None or layout.place(entry.path)[1] for entry in entries
        )
    assert sorted(source.parent.iterdir()) == [source]


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_archive_is_read_or_refused(guard, tmp_path, kind):
    source = build(tmp_path / kind, FILES)

    @given(mutated([source.read_bytes()]))
    def throw(content: bytes):
        check_entries(guard, f"archive {kind.removeprefix('set')}", content, source)

    throw()


@pytest.mark.parametrize(
    ("name", "archives"), [("archive .tar, built", tars()), ("archive .zip, built", zips())]
)
def test_an_archive_of_any_members_is_read_or_refused(guard, tmp_path, name, archives):
    @given(archives)
    def throw(content: bytes):
        check_entries(guard, name, content, tmp_path / "set.archive")

    throw()


@given(st.lists(NAMES, max_size=8))
def test_any_paths_have_a_layout_or_none(guard, paths):
    layout = guard("layout", paths, lambda: find_layout(paths, "set"), names="set")
    for path in paths if layout else []:
        assert layout.place(path) is None or layout.place(path)[1]
