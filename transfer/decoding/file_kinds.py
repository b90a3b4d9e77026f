"""What a file is that is not read here, by its first bytes, and what a person can do about it."""

import re
from contextlib import suppress

_CONVERT = "convert it to JPEG, PNG or TIFF"
_SLICES = "save its slices as PNG or TIFF"
_FRAMES = "save its frames as images"
_VIDEO = f"a video; {_FRAMES}"
_THERMAL = f"a recording of a thermal camera (FLIR); {_FRAMES}"
_RAW = f"a camera's RAW file; {_CONVERT} with the camera's program or darktable"
_TEXT_TRANSFER = "that a transfer as text has changed; copy it again"
_PNG_LINES = "a PNG whose line ends were changed by a transfer as text; copy it again"
_METAFILE = f"a Windows metafile; {_CONVERT}"
_NETCDF = "a NetCDF file; save each image of it as PNG or TIFF"
_MATLAB = "a MATLAB file; save each image of it as PNG or TIFF"
_PICKLE = "a pickle of Python, which may run programs; save its images as files"
_LINK = "a symbolic link as another system stores it, not the image; copy the image itself"
_PROGRAM = "a program, not an image; remove it"
_TABLE = "not an image; remove it, or save its images as files"
_RASTER = f"a raster of maps; {_CONVERT} with gdal_translate"
_AS_TEXT = "an image as text; decode it from base64"
_AS_HEX = "an image as text; decode it from hexadecimal numbers"
_AS_PYTHON = "an image as text, as Python prints bytes; write the bytes themselves"
_ANNEX = "a git-annex pointer, not the image: git annex get"
# offset, bytes, what it is and what to do
_SIGNATURES = (
    (0, b"version https://git-lfs.github.com", "a Git LFS pointer, not the image: git lfs pull"),
    (0, b"/annex/objects/", _ANNEX),
    (128, b"DICM", "a DICOM file; convert it to PNG or TIFF with dcm2img (DCMTK) or pydicom"),
    (0, b"\xff\x0a", f"a JPEG XL image; {_CONVERT} with djxl"),
    (0, b"\0\0\0\x0cJXL \r\n\x87\n", f"a JPEG XL image; {_CONVERT} with djxl"),
    (0, b"II\xbc\x01", f"a JPEG XR image; {_CONVERT}"),
    *((0, start, _RAW) for start in (b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"MMOR", b"IIU\0")),
    *((0, start, _RAW) for start in (b"FOVb", b"\0MRM")),
    (8, b"CR\x02", _RAW),
    (6, b"HEAPCCDR", _RAW),
    (0, b"8BPS", f"a Photoshop file; {_CONVERT}"),
    (0, b"gimp xcf", f"a GIMP file; {_CONVERT}"),
    (0, b"v/1\x01", f"an OpenEXR image; {_CONVERT}"),
    *((0, start, f"a Radiance HDR image; {_CONVERT}") for start in (b"#?RADIANCE", b"#?RGBE")),
    *((0, start, f"a DPX image; {_CONVERT}") for start in (b"SDPX", b"XPDS")),
    (0, b"DDS ", f"a DDS texture; {_CONVERT}"),
    (0, b"\xabKTX ", f"a KTX texture; {_CONVERT}"),
    (0, b"icns", f"a macOS icon; {_CONVERT} with sips or icns2png"),
    (0, b"P7\n", f"a PAM image; {_CONVERT}"),
    (0, b"P7 332", f"an XV thumbnail; {_CONVERT}"),
    (0, b"BPG\xfb", f"a BPG image; {_CONVERT}"),
    (0, b"FLIF", f"a FLIF image; {_CONVERT}"),
    (0, b"\x8aMNG", f"an MNG animation; {_FRAMES}"),
    (0, b"\x8bJNG", f"a JNG image; {_CONVERT}"),
    (0, b"AT&TFORM", f"a DjVu document; {_CONVERT} with ddjvu"),
    *((0, start, _PNG_LINES) for start in (b"\x89PNG\n", b"\x89PNG\r\r")),
    *((0, start, f"a PNG {_TEXT_TRANSFER}") for start in (b"\xc2\x89PNG", b"\xef\xbf\xbdPNG")),
    (0, b"\xc3\xbf\xc3\x98\xc3\xbf", f"a JPEG {_TEXT_TRANSFER}"),
    (0, b"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd", f"bytes, a JPEG perhaps, {_TEXT_TRANSFER}"),
    (0, b"SIMPLE  =", f"a FITS file; {_CONVERT}"),
    (0, b"\x89HDF\r\n", "an HDF5 file; save each image of it as PNG or TIFF"),
    (0, b"\x0e\x03\x13\x01", "an HDF4 file; save each image of it as PNG or TIFF"),
    *((0, start, _NETCDF) for start in (b"CDF\1", b"CDF\2")),
    (0, b"GRIB", "a GRIB file; save each image of it as PNG or TIFF"),
    (0, b"\x93NUMPY", "a NumPy array; save it as PNG or TIFF"),
    *((0, start, _MATLAB) for start in (b"MATLAB 5.0", b"MATLAB 7.3")),
    *((0, bytes((0x80, number)), _PICKLE) for number in (2, 3, 4, 5)),
    (0, b"\0\0\x08\3", "arrays of MNIST's kind (IDX); save each image of them as PNG or TIFF"),
    (208, b"MAP ", f"an MRC volume of a microscope; {_SLICES}"),
    (0, b"ZISRAWFILE", f"a CZI file of a microscope; {_SLICES}, with Fiji say"),
    (0, b"\xda\xce\xbe\x0a", f"an ND2 file of a microscope; {_SLICES}, with Fiji say"),
    (0, b"NRRD000", f"an NRRD volume; {_SLICES}"),
    (0, b"ObjectType =", f"a MetaImage volume; {_SLICES}"),
    *((344, start, f"a NIfTI volume; {_SLICES}") for start in (b"n+1\0", b"ni1\0")),
    (4, b"n+2\0", f"a NIfTI volume; {_SLICES}"),
    (0, b"%PDF", "a PDF document; save its pages as images, with pdftoppm say"),
    (0, b"%!PS", f"a PostScript file; {_CONVERT}"),
    (0, b"\xc5\xd0\xd3\xc6", f"an EPS file; {_CONVERT}"),
    *((0, start, _METAFILE) for start in (b"\xd7\xcd\xc6\x9a", b"\1\0\x09\0\0\3")),
    (40, b" EMF", _METAFILE),
    (0, b"\x59\xa6\x6a\x95", f"a Sun raster image; {_CONVERT}"),
    (0, b"/* XPM */", f"an XPM image; {_CONVERT}"),
    (0, b"#define ", f"an XBM image, or a program's text; {_CONVERT}"),
    (0, b"id=ImageMagick", f"an image of ImageMagick (MIFF); {_CONVERT}"),
    (0, b"\xb1\x68\xde\x3a", f"a DCX document; {_CONVERT}"),
    (0, b"\x80\x2a\x5f\xd7", f"a Cineon image; {_CONVERT}"),
    (8, b"CDR", f"a CorelDRAW drawing; {_CONVERT}"),
    (0, b"\0\0\2\0", f"a cursor of Windows, or a TGA that is cut off; {_CONVERT}"),
    (8, b"ACON", "an animated cursor of Windows; save its frames as images"),
    (0, b"p\0\0\0", f"a LIF file of a microscope, perhaps; {_SLICES}, with Fiji say"),
    *((0, start, _RASTER) for start in (b"EHFA_HEADER_TAG", b"NITF", b"NSIF", b"PCIDSK", b"msid")),
    *((0, start, _THERMAL) for start in (b"FFF\0", b"AFF\0")),
    (0, b"XISF0100", f"an XISF image; {_CONVERT}"),
    (0, b"Paint Shop Pro", f"a Paint Shop Pro file; {_CONVERT}"),
    (0, b"PDN3", f"a Paint.NET file; {_CONVERT}"),
    (0, b"\x06\x06\xed\xf5", f"an InDesign document; {_CONVERT}"),
    (0, b"BLENDER", f"a Blender file; {_CONVERT}"),
    (0, b"BLP2", f"a BLP texture; {_CONVERT}"),
    (0, b"VTF\0", f"a VTF texture; {_CONVERT}"),
    (0, b"\x97JB2", f"a JBIG2 image; {_CONVERT}"),
    (8, b"ILBM", f"an IFF image; {_CONVERT}"),
    (0, b"id=MagickPixelCache", f"a cache of ImageMagick; {_CONVERT}"),
    (0, b"\xff\xe0\0\x10JFIF", "a JPEG without its first two bytes; copy it again"),
    (0, b"\0\0\0\1Bud1", "a .DS_Store of macOS, not an image; remove it"),
    (0, b"CMMM", "a cache of thumbnails of Windows, not an image; remove it"),
    (0, b"L\0\0\0\1\x14\2\0", "a shortcut of Windows, not the image; copy the image itself"),
    (0, b"[InternetShortcut]", "a shortcut to an address, not the image; download it"),
    *((0, start, _LINK) for start in (b"!<symlink>", b"IntxLNK\1", b"XSym\n")),
    *((0, start, _PROGRAM) for start in (b"MZ\x90\0", b"\x7fELF")),
    (0, b"\0\5\x16\7", "a resource fork of macOS, not the image; remove it"),
    (0, b"\0\5\x16\0", "a file of macOS with its resource fork; copy it again"),
    (
        0,
        b"bplist00",
        "a property list of macOS, not the image; if its name ends in .icloud, the image is still "
        "in iCloud: download it there first",
    ),
    (0, b"[ZoneTransfer]", "a note of Windows on a download, not an image; remove it"),
    (0, b"\xd0\xcf\x11\xe0", "an old Office document or a Thumbs.db, not an image; remove it"),
    (0, b"PK\x03\x04", "a zip archive inside the source; unpack it"),
    (0, b"\x1f\x8b", "a gzip file; unpack it"),
    (0, b"BZh", "a bzip2 file; unpack it"),
    (0, b"\xfd7zXZ\0", "an xz file; unpack it"),
    (0, b"\x28\xb5\x2f\xfd", "a Zstandard file; unpack it"),
    (0, b"\x04\x22\x4d\x18", "an LZ4 file; unpack it"),
    (0, b"\x1f\x9d", "a file of compress (.Z); unpack it"),
    (0, b"Rar!", "a RAR archive; unpack it"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive; unpack it"),
    (257, b"ustar", "a tar archive inside the source; unpack it"),
    (0, b"Salted__", "an encrypted file (OpenSSL); decrypt it"),
    (0, b"-----BEGIN PGP MESSAGE", "an encrypted file (PGP); decrypt it"),
    (0, b"age-encryption.org", "an encrypted file (age); decrypt it"),
    (0, b"SQLite format 3\0", "an SQLite database, not an image; remove it"),
    (0, b"PAR1", f"a Parquet table, {_TABLE}"),
    (0, b"ARROW1\0\0", f"an Arrow table, {_TABLE}"),
    (0, b"Obj\1", f"an Avro table, {_TABLE}"),
    (0, b"\x1a\x45\xdf\xa3", f"a Matroska or WebM video; {_FRAMES}"),
    *((0, start, _VIDEO) for start in (b"FLV\1", b"YUV4MPEG2", b"\0\0\1\xba", b"\0\0\1\xb3")),
    (8, b"AVI ", _VIDEO),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", f"a video (WMV); {_FRAMES}"),
    *((4, name, _VIDEO) for name in (b"moov", b"mdat", b"wide", b"skip")),
    (8, b"WAVE", "a sound, not an image; remove it"),
    (0, b"ID3", "a sound, not an image; remove it"),
    (0, b"OggS", "a sound or a video, not an image; remove it"),
    (0, b"fLaC", "a sound, not an image; remove it"),
)
_HEIC = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
_WEB_PAGE = "a web page, not an image: the download failed"
_PYTHON_STARTS = (b"\\xff\\xd8", b"\\x89png")
# Of text that begins so, in lower case and without declarations and comments in front
_TEXT_STARTS = (
    (b"<svg", f"an SVG drawing; {_CONVERT}"),
    (b"<!doctype svg", f"an SVG drawing; {_CONVERT}"),
    (b"<error", "a server's error message, not an image: the download failed"),
    (b"<listbucketresult", "a list of a bucket's files, not an image: the download failed"),
    (b"<!doctype plist", "a property list of macOS, not an image; remove it"),
    (b"http/1.", "a server's answer with its header, not an image: download it again"),
    (b"data:image/", "an image as text (a data URL); decode it from base64"),
    *((start, _AS_TEXT) for start in (b"/9j/", b"ivborw0kggo", b"r0lgodlh", b"r0lgodhh", b"uklgr")),
    *((start, _AS_HEX) for start in (b"ffd8ff", b"0xffd8ff", b"89504e47", b"0x89504e47")),
    *((b"b" + quote + start, _AS_PYTHON) for quote in (b"'", b'"') for start in _PYTHON_STARTS),
    (b"begin 6", "an image as text; decode it with uudecode"),
    (b"=ybegin ", "an image as text (yEnc); decode it"),
    (b"mime-version:", "an e-mail, not an image; save what is attached to it"),
    (b"outs:\n- ", "a DVC file, not the image: dvc pull"),
)
_HTML = re.compile(
    rb"<(?:!doctype html|html|head|body|title|meta|div|center|script|h\d|p|br|b|font)\b"
)
_NO_PREAMBLE = re.compile(
    rb"[\x02\x08]\0..(?:CS|DA|SH|TM|UI|UL)|\x08\0[\x05\x08\x12\x13\x16\x18\x20]\0.\0\0\0", re.DOTALL
)
_TRANSPORT_STREAM = re.compile(rb"G.{187}G.{187}G", re.DOTALL)
_SHOWN = 40  # characters of a text
_BEFORE_TEXT = re.compile(rb"(?:\s+|<\?xml.*?\?>|<!--.*?-->)", re.DOTALL)
# An image that stands so near behind other bytes is what is meant; farther, it may be a preview.
_IMAGE_INSIDE = re.compile(rb"\xff\xd8\xff[\xe0\xe1\xdb]|\x89PNG\r\n\x1a\n")
_NEAR = 512


def describe_unreadable(content: bytes) -> str | None:
    """What kind of file these bytes are, if they are no image that is read, and what to do; None if
    it is not known."""
    for offset, signature, kind in _SIGNATURES:
        if content.startswith(signature, offset):
            return kind
    if content[4:8] == b"ftyp":
        return _iso_media(content)
    if b".git/annex/objects/" in content[:1024] or b".git\\annex\\objects\\" in content[:1024]:
        return _ANNEX
    if _NO_PREAMBLE.match(content):
        return "a DICOM file without its header; convert it to PNG or TIFF with dcm2img (DCMTK)"
    if _TRANSPORT_STREAM.match(content):
        return _VIDEO
    return _text(content) or _hidden_image(content)


def is_heic(content: bytes) -> bool:
    """Whether these are the bytes of a HEIC or HEIF image, whatever its name ends in."""
    return content[4:8] == b"ftyp" and content[8:12] in _HEIC and b"avif" not in content[8:40]


def beginning_of_text(content: bytes) -> str | None:
    """The first line, shortened, of a file whose first 4,096 bytes are text; None of any other."""
    start = _in_utf_8(content[:4096])
    if b"\0" in start or not start.strip():
        return None
    with suppress(UnicodeDecodeError):
        text = start[: start.rfind(b"\n") + 1 or len(start)].decode("utf-8").strip()
        line = text.splitlines()[0].strip() if text else ""
        if line and line.isprintable():
            return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}..."
    return None


def _in_utf_8(start: bytes) -> bytes:
    """The start of a text that says that it is UTF-16, in UTF-8; any other as it is."""
    if start[:2] not in (b"\xff\xfe", b"\xfe\xff"):
        return start.removeprefix(b"\xef\xbb\xbf")
    return start[: len(start) & ~1].decode("utf-16", "replace").encode()


def _text(content: bytes) -> str | None:
    start = _in_utf_8(content[:4096]).lower()
    while found := _BEFORE_TEXT.match(start):
        start = start[found.end() :]
    for text, kind in _TEXT_STARTS:
        if start.startswith(text):
            return kind
    if _HTML.match(start):
        return _hidden_image(content) or _WEB_PAGE
    if re.match(rb'[{\[]\s*["{]', start):
        return "JSON text, not an image: a server's answer, or a table"
    return None


def _hidden_image(content: bytes) -> str | None:
    found = _IMAGE_INSIDE.search(content[:_NEAR])
    if found is None or not found.start():
        return None
    kind = "JPEG" if found[0].startswith(b"\xff") else "PNG"
    count = f"{found.start()} other bytes" if found.start() > 1 else "another byte"
    return f"a {kind} image behind {count}; remove what stands in front of it, or copy it again"


def _iso_media(content: bytes) -> str:
    if is_heic(content):
        return (
            "a HEIC image, as phones save it; run `make .venv/extra-heic`, or convert it to JPEG "
            "with heif-convert"
        )
    if content[8:12] == b"crx ":
        return _RAW
    if b"avif" in content[8:40]:
        return "a damaged AVIF image"
    return _VIDEO
