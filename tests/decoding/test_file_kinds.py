"""What a person is told of files that are no image that is read."""

import pytest

from transfer.decoding.rgb import BadImageError, read_rgb

REST = bytes(range(1, 200))
KINDS = {
    b"\0\0\0\0": None,
    b"/annex/objects/SHA256E-s1--a.jpg\n": "a git-annex pointer, not the image: git annex get",
    b"../../.git/annex/objects/Zf/9P/SHA256E-s1--a.jpg": "a git-annex pointer, not the image",
    b"..\\.git\\annex\\objects\\Zf\\SHA256E-s1--a.jpg": "a git-annex pointer, not the image",
    b"outs:\n- md5: abc\n  size: 3\n  path: x.jpg\n": "a DVC file, not the image: dvc pull",
    b"<!DOCTYPE svg PUBLIC 'x'>\n<svg/>": "an SVG drawing; convert it",
    b"<?xml version='1.0'?>\n<!-- made by x -->\n<svg/>": "an SVG drawing; convert it",
    b"<!-- cached --><HTML>": "a web page, not an image: the download failed",
    b"\n\n<!doctype html>": "a web page, not an image: the download failed",
    b"<head><title>404</title>": "a web page, not an image: the download failed",
    b"<?xml version='1.0'?><Error><Code>AccessDenied": "a server's error message, not an image",
    b'{"error": "not found"}': "JSON text, not an image",
    b"data:image/png;base64,iVBORw0KGgo": "an image as text (a data URL); decode it",
    b"/9j/4AAQSkZJRgABAQAAAQABAAD": "an image as text; decode it from base64",
    b"DDS " + REST: "a DDS texture; convert it",
    b"icns" + REST: "a macOS icon; convert it",
    b"P7\nWIDTH 4\n": "a PAM image; convert it",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + REST: "an old Office document or a Thumbs.db",
    b"Salted__" + REST: "an encrypted file (OpenSSL); decrypt it",
    b"-----BEGIN PGP MESSAGE-----\n": "an encrypted file (PGP); decrypt it",
    b"ZISRAWFILE" + REST: "a CZI file of a microscope; save its slices",
    b"\0MRM" + REST: "a camera's RAW file; convert it",
    b"BZh91AY&SY" + REST: "a bzip2 file; unpack it",
    bytes(4) + b"moov": "a video; save its frames",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11" + REST: "a video (WMV); save its frames",
    b"\xff\xfe" + "<html>".encode("utf-16-le"): "a web page, not an image",
    b"<center><h1>403 Forbidden</h1>": "a web page, not an image",
    b"<br />\n<b>Warning</b>\xff\xd8\xff\xe0": "a JPEG image behind 21 other bytes",
    b"<?xml version='1.0'?><ListBucketResult>": "a list of a bucket's files, not an image",
    b"<?xml version='1.0'?>\n<!DOCTYPE plist>": "a property list of macOS, not an image",
    b"bplist00" + REST: "a property list of macOS, not the image; if its name ends in .icloud",
    b"\0\5\x16\7" + REST: "a resource fork of macOS, not the image; remove it",
    b"[ZoneTransfer]\r\nZoneId=3\r\n": "a note of Windows on a download, not an image",
    b"\x08\0\5\0CS\x0a\0ISO_IR 100": "a DICOM file without its header; convert it",
    b"\0\0\2\0\1\0\x10\x10"
    + bytes(14)
    + b"\x89PNG\r\n\x1a\n"
    + REST: "a cursor of Windows, or a TGA",
    b"\1\0\0\0" + bytes(36) + b" EMF" + REST: "a Windows metafile; convert it",
    b"\x59\xa6\x6a\x95" + REST: "a Sun raster image; convert it",
    b"MATLAB 7.3 MAT-file": "a MATLAB file; save each image",
    b"\x80\x04\x95" + REST: "a pickle of Python, which may run programs",
    b"\xc2\x89PNG\r\n": "a PNG that a transfer as text has changed; copy it again",
    "\xff\xd8\xff\xe0".encode() + REST: "a JPEG that a transfer as text has changed",
    "\ufffd\ufffd\ufffd\ufffd".encode() + REST: "bytes, a JPEG perhaps, that a transfer as text",
    b"\0\0\0\x14ftypqt  " + REST: "a video; save its frames",
    b"NRRD0004\n": "an NRRD volume; save its slices",
    b"\x80\2}q\0" + REST: "a pickle of Python, which may run programs",
    b"\x80\5\x95" + REST: "a pickle of Python, which may run programs",
    b"\0\0\x08\3\0\0\0\x0a" + REST: "arrays of MNIST's kind (IDX); save each image",
    b"EHFA_HEADER_TAG" + REST: "a raster of maps; convert it",
    b"NITF02.10" + REST: "a raster of maps; convert it to JPEG, PNG or TIFF with gdal_translate",
    b"FFF\0" + REST: "a recording of a thermal camera (FLIR)",
    b"\x97JB2\r\n" + REST: "a JBIG2 image; convert it",
    b"\xff\xe0\0\x10JFIF\0" + REST: "a JPEG without its first two bytes; copy it again",
    b"\0\0\0\1Bud1" + REST: "a .DS_Store of macOS, not an image; remove it",
    b"L\0\0\0\1\x14\2\0" + REST: "a shortcut of Windows, not the image",
    b"[InternetShortcut]\r\nURL=http://x/a.jpg": "a shortcut to an address, not the image",
    b"!<symlink>\xff\xfe.\0.\0": "a symbolic link as another system stores it",
    b"XSym\n0011\nabc\n../x/y.jpg\n": "a symbolic link as another system stores it",
    b"MZ\x90\0" + REST: "a program, not an image; remove it",
    b"\x04\x22\x4d\x18" + REST: "an LZ4 file; unpack it",
    b"ARROW1\0\0" + REST: "an Arrow table, not an image; remove it, or save",
    b"YUV4MPEG2 W320 H240\n": "a video; save its frames",
    (b"G" + bytes(187)) * 4: "a video; save its frames",
    b"UklGRiQAAABXRUJQ": "an image as text; decode it from base64",
    b"FFD8FFE000104A46": "an image as text; decode it from hexadecimal numbers",
    b"b'\\xff\\xd8\\xff\\xe0'": "an image as text, as Python prints bytes",
    b"begin 644 a.jpg\nM_]C_X": "an image as text; decode it with uudecode",
    b"MIME-Version: 1.0\r\nContent-Type: image/jpeg\r\n": "an e-mail, not an image",
    b"\x08\0\x16\0\x1a\0\0\0001.2.840.10008": "a DICOM file without its header; convert it",
    b"\n": None,
    b"PK\x03\x04" + REST: "a zip archive inside the source; unpack it",
    b"%PDF-1.7\n": "a PDF document; save its pages",
    b"\0\0\0\x18ftypisom" + REST: "a video; save its frames",
    bytes(128) + b"DICM" + REST: "a DICOM file; convert it to PNG",
    b"\xff\x0a" + REST: "a JPEG XL image; convert it",
    b"\0\0\0\x0cJXL \r\n\x87\n" + REST: "a JPEG XL image; convert it",
    b"version https://git-lfs.github.com/spec/v1\noid": "a Git LFS pointer, not the image",
    b"8BPS" + REST: "a Photoshop file; convert it",
    b"FUJIFILMCCD-RAW" + REST: "a camera's RAW file; convert it",
}


@pytest.mark.parametrize(("content", "words"), KINDS.items())
def test_a_file_that_is_no_image_is_called_by_its_name(content, words):
    with pytest.raises(BadImageError) as error:
        read_rgb(content)
    assert str(error.value).startswith(words or "not a JPEG, PNG, GIF, BMP, WebP, TIFF")


def test_a_file_of_zeros_says_so():
    with pytest.raises(BadImageError, match="image: all its bytes are zero; copy it again$"):
        read_rgb(bytes(5000))


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        (b"404: Not Found", "'404: Not Found'"),
        ("n\xe3o\n".encode("utf-16"), "'n\xe3o'"),
        (b"x" * 99, "'" + "x" * 40 + "...'"),
    ],
)
def test_text_is_quoted(content, shown):
    with pytest.raises(BadImageError) as error:
        read_rgb(content)
    assert str(error.value).endswith(f"SGI image, but text that begins {shown}")


@pytest.mark.parametrize("start", [b"\x89PNG\r\n\x1a\n", b"II*\0"])
def test_a_file_that_ends_at_its_start_says_so(start):
    with pytest.raises(BadImageError, match="image, cut off at its start$"):
        read_rgb(start)
