"""What a file is that is not read here, by its first bytes, and what a person can do about it."""

_CONVERT = "convert it to JPEG, PNG or TIFF"
_RAW = f"a camera's RAW file; {_CONVERT} with the camera's program or darktable"
# offset, bytes, what it is and what to do
_SIGNATURES = (
    (0, b"version https://git-lfs.github.com", "a Git LFS pointer, not the image: git lfs pull"),
    (0, b"/annex/objects/", "a git-annex pointer, not the image: git annex get"),
    (128, b"DICM", "a DICOM file; convert it to PNG or TIFF with dcm2img (DCMTK) or pydicom"),
    (0, b"\xff\x0a", f"a JPEG XL image; {_CONVERT} with djxl"),
    (0, b"\0\0\0\x0cJXL \r\n\x87\n", f"a JPEG XL image; {_CONVERT} with djxl"),
    (0, b"FUJIFILMCCD-RAW", _RAW),
    (0, b"IIRO", _RAW),
    (0, b"IIRS", _RAW),
    (0, b"MMOR", _RAW),
    (0, b"IIU\0", _RAW),
    (0, b"FOVb", _RAW),
    (8, b"CR\x02", _RAW),
    (0, b"8BPS", f"a Photoshop file; {_CONVERT}"),
    (0, b"v/1\x01", f"an OpenEXR image; {_CONVERT}"),
    (0, b"#?RADIANCE", f"a Radiance HDR image; {_CONVERT}"),
    (0, b"SIMPLE  =", f"a FITS file; {_CONVERT}"),
    (0, b"\x89HDF\r\n", "an HDF5 file; save each image of it as PNG or TIFF"),
    (0, b"\x93NUMPY", "a NumPy array; save it as PNG or TIFF"),
    (344, b"n+1\0", "a NIfTI volume; save its slices as PNG or TIFF"),
    (344, b"ni1\0", "a NIfTI volume; save its slices as PNG or TIFF"),
    (0, b"%PDF", "a PDF document; save its pages as images, with pdftoppm say"),
    (0, b"%!PS", f"a PostScript file; {_CONVERT}"),
    (0, b"\xc5\xd0\xd3\xc6", f"an EPS file; {_CONVERT}"),
    (0, b"PK\x03\x04", "a zip archive inside the source; unpack it"),
    (0, b"\x1f\x8b", "a gzip file; unpack it"),
    (0, b"Rar!", "a RAR archive; unpack it"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive; unpack it"),
    (0, b"\x1a\x45\xdf\xa3", "a Matroska or WebM video; save its frames as images"),
    (8, b"AVI ", "a video; save its frames as images"),
)
_HEIC = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
_TEXT_STARTS = (
    (b"<svg", f"an SVG drawing; {_CONVERT}"),
    (b"<!doctype html", "a web page, not an image: the download failed"),
    (b"<html", "a web page, not an image: the download failed"),
)


def describe_unreadable(content: bytes) -> str | None:
    """What these bytes are, if they are no image that is read here, and what to do; None where that
    is not known."""
    for offset, signature, kind in _SIGNATURES:
        if content.startswith(signature, offset):
            return kind
    if content[4:8] == b"ftyp":
        return _iso_media(content)
    start = content[:1024].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for text, kind in _TEXT_STARTS:
        if start.startswith(text) or (start.startswith(b"<?xml") and text in start):
            return kind
    return None


def is_heic(content: bytes) -> bool:
    """Whether these are the bytes of a HEIC or HEIF image, whatever its name ends in."""
    return content[4:8] == b"ftyp" and content[8:12] in _HEIC and b"avif" not in content[8:40]


def _iso_media(content: bytes) -> str:
    if is_heic(content):
        return (
            "a HEIC image, as phones save it; install pillow-heif, or convert it to JPEG with "
            "heif-convert"
        )
    if content[8:12] == b"crx ":
        return _RAW
    if b"avif" in content[8:40]:
        return "a damaged AVIF image"
    return "a video; save its frames as images"
