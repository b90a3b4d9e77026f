"""Strategies that damage valid files: the bytes of any of them, and the fields of the formats that
checksums protect."""

import io
import struct
import tarfile
import warnings
import zipfile
import zlib

from hypothesis import strategies as st

INTERESTING = [
    *(
        b"\x00",
        b"\xff",
        b"\x7f",
        b"\x80",
        b"\n",
        b"\r\n",
        b'"',
        b"'",
        b",",
        b":",
        b"[",
        b"{",
        b"\\",
        b"/",
        b"../",
        b"\xed\xa0\x80",
    ),
    *(
        value.to_bytes(width, order)
        for width in (2, 4, 8)
        for order in ("little", "big")
        for value in (1, 2 ** (width * 8 - 1) - 1)
    ),
    *(
        b"\xff" * 4,
        b"\xff" * 8,
        b"\x80\x00\x00\x00",
        b"\x00" * 16,
        b"-1",
        b"1e400",
        b"9" * 30,
        b"nan",
        b"|O",
        b"PK\x03\x04",
    ),
]
# of 65,536; or bytes from the start
PLACES = st.one_of(st.integers(0, 2**16), st.integers(0, 600).map(lambda place: -1 - place))
CHANGES = st.one_of(
    st.tuples(st.just("flip"), PLACES, st.integers(0, 7)),
    st.tuples(
        st.just("overwrite"),
        PLACES,
        st.sampled_from(INTERESTING) | st.binary(min_size=1, max_size=9),
    ),
    st.tuples(
        st.just("insert"), PLACES, st.sampled_from(INTERESTING) | st.binary(min_size=1, max_size=9)
    ),
    st.tuples(st.just("cut"), PLACES, PLACES),
    st.tuples(st.just("end"), PLACES, st.none()),
    st.tuples(st.just("duplicate"), PLACES, PLACES),
    st.tuples(st.just("swap"), PLACES, PLACES),
)


def apply_change(content: bytes, change: tuple) -> bytes:
    kind, place, detail = change
    start = _offset(place, len(content))
    if kind == "flip":
        return (
            content[:start]
            + bytes(byte ^ 1 << detail for byte in content[start : start + 1])
            + content[start + 1 :]
        )
    if kind == "overwrite":
        return content[:start] + detail + content[start + len(detail) :]
    if kind == "insert":
        return content[:start] + detail + content[start:]
    if kind == "end":
        return content[:start]
    start, end = sorted((start, _offset(detail, len(content))))
    if kind == "cut":
        return content[:start] + content[end:]
    if kind == "duplicate":
        return content[:end] + content[start:end] + content[end:]
    return content[end:] + content[start:end] + content[:start]


def _offset(place: int, length: int) -> int:
    return min(-1 - place, length) if place < 0 else place * length >> 16


@st.composite
def mutated(draw: st.DrawFn, originals: list[bytes]) -> bytes:
    content = draw(st.sampled_from(originals))
    for change in draw(st.lists(CHANGES, max_size=6)):
        content = apply_change(content, change)
    return content


@st.composite
def mutated_png(draw: st.DrawFn, originals: list[bytes]) -> bytes:
    """Chunks of a PNG changed, repeated or swapped, under checksums that are right again."""
    content, chunks = draw(st.sampled_from(originals)), []
    position = 8
    while position < len(content):
        size = struct.unpack_from(">I", content, position)[0]
        chunks.append(
            (content[position + 4 : position + 8], content[position + 8 : position + 8 + size])
        )
        position += size + 12
    chunks += draw(
        st.lists(
            st.tuples(
                st.sampled_from([b"tRNS", b"iCCP", b"zTXt", b"iTXt", b"eXIf", b"acTL", b"PLTE"]),
                st.binary(),
            )
        )
    )
    chunks = draw(st.permutations(chunks)) if draw(st.integers(0, 3)) == 0 else chunks
    number = draw(st.integers(0, len(chunks) - 1))
    chunks[number] = (chunks[number][0], apply_change(chunks[number][1], draw(CHANGES)))
    packed = (
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )
    return content[:8] + b"".join(packed)


NAMES = st.one_of(
    st.sampled_from(
        [
            "cat/1.png",
            "cat/2.png",
            "dog/1.png",
            "cat/",
            "train/cat/1",
            "val/cat/1",
            "test/cat/1",
            "a" * 300,
            "d/" * 200,
        ]
    ),
    st.sampled_from(
        [
            "../x",
            "/etc/x",
            "C:/x",
            "..\\x",
            "cat/../../x",
            "a\x00b",
            "a\nb",
            "cat/\udcff",
            "ü/1",
            ".",
            "",
            "//",
            "a//b",
            "./.",
        ]
    ),
    st.text(max_size=12),
    st.tuples(st.sampled_from(["..", "/", "cat", "\\", "C:"]), st.text(max_size=6)).map("/".join),
)
SIZES = st.sampled_from(
    [*[None] * 40, 0, 1, 511, 512, 513, -1, -512, -1024, 2**28, 2**28 + 1, 2**33, 2**62]
)
TAR_TYPES = st.sampled_from(
    [*(bytes([n]) for n in b"000000000000000000001234567LKSxgXVMN?"), b"\0"]
)
TAR_FORMATS = st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
RECORDS = (
    "path",
    "size",
    "mtime",
    "GNU.sparse.major",
    "GNU.sparse.minor",
    "GNU.sparse.map",
    "GNU.sparse.size",
    "GNU.sparse.name",
)
RECORDS += (
    "GNU.sparse.realsize",
    "GNU.sparse.numblocks",
    "GNU.sparse.offset",
    "GNU.sparse.numbytes",
    "hdrcharset",
    "linkpath",
)
VALUES = st.sampled_from(
    ["0", "1", "-1", "-512", "9" * 20, "", "x", "0,512", "1,2,3", "BINARY", "../x", "nan"]
) | st.text(max_size=6)
MEMBERS = st.tuples(
    NAMES,
    TAR_TYPES,
    SIZES,
    st.binary(max_size=40),
    st.dictionaries(st.sampled_from(RECORDS), VALUES, max_size=3),
)


@st.composite
def tars(draw: st.DrawFn) -> bytes:
    """Members of any name, type, size and pax record, under header checksums that are right, packed
    or not."""
    archive = io.BytesIO()
    for name, kind, size, content, records in draw(st.lists(MEMBERS, min_size=1, max_size=5)):
        member = tarfile.TarInfo(name)
        member.type, member.size, member.pax_headers = (
            kind,
            len(content) if size is None else size,
            records,
        )
        try:
            archive.write(member.tobuf(draw(TAR_FORMATS), "utf-8", "surrogateescape"))
        except ValueError:  # no such header can be written in this format
            archive.write(tarfile.TarInfo("cat/1.png").tobuf())
        archive.write(content + bytes(-len(content) % tarfile.BLOCKSIZE))
    archive.write(bytes(draw(st.sampled_from([2, 2, 2, 2, 0, 1])) * tarfile.BLOCKSIZE))
    pack = draw(st.sampled_from([bytes, bytes, zlib_gzip]))
    return pack(archive.getvalue())


def zlib_gzip(content: bytes) -> bytes:
    packer = zlib.compressobj(wbits=31)
    return packer.compress(content) + packer.flush()


METHODS = st.sampled_from(
    [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)


@st.composite
def zips(draw: st.DrawFn) -> bytes:
    """Members of any name and method; then fields of the directory, which no checksum protects,
    are changed."""
    buffer = io.BytesIO()
    # zipfile warns of a name that is there already
    with zipfile.ZipFile(buffer, "w") as archive, warnings.catch_warnings(action="ignore"):
        for name in draw(st.lists(NAMES, min_size=1, max_size=5)):
            member = zipfile.ZipInfo(name.encode("utf-8", "replace").decode())
            member.compress_type = draw(METHODS)
            member.external_attr = draw(
                st.sampled_from([0, 0o120777 << 16, 0o040755 << 16, 0o100644 << 16, 2**32 - 1])
            )
            member.extra = draw(st.just(b"") | extras())
            archive.writestr(member, draw(st.binary(max_size=60)))
    content = bytearray(buffer.getvalue())
    directory = content.rindex(b"PK\x05\x06")
    first = struct.unpack_from("<I", content, directory + 16)[0]
    for place, value in draw(
        st.lists(
            st.tuples(st.integers(first, len(content) - 1), st.sampled_from(INTERESTING)),
            max_size=3,
        )
    ):
        content[place : place + len(value)] = value
    return bytes(content)


@st.composite
def extras(draw: st.DrawFn) -> bytes:
    """Extra fields: zip64 sizes, a Unicode path, others."""
    body = draw(
        st.binary(max_size=20)
        | st.text(max_size=6).map(
            lambda text: b"\x01\x00\x00\x00\x00" + text.encode("utf-8", "replace")
        )
    )
    return struct.pack("<HH", draw(st.sampled_from([1, 0x7075, 0x5455])), len(body)) + body
