"""Members of an archive that any process reads at their places, without the archive's list of
members."""

import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from transfer.sources.source_file import MAX_FILE_BYTES

PLAIN = -1  # the method of a tar: the bytes themselves
METHODS = (PLAIN, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_HEADER_BYTES, _LENGTHS = 30, 26  # of a zip's local header, and where it has those of what follows


@dataclass(frozen=True)
class ArchivePart:
    """Where the bytes of one member are.

    offset: of the member's bytes in a tar, of its header in a zip. size: bytes in the archive.
    method: one of METHODS.
    """

    archive: Path
    offset: int
    size: int
    method: int

    def read(self, path: str) -> bytes:
        """The member's content, which may be more than MAX_FILE_BYTES by one byte; `path` is not
        needed to find it.

        Raises:
            FileNotFoundError: the archive is gone.
            OSError: it cannot be read, or is damaged at this place.
        """
        with self.archive.open("rb") as file:
            file.seek(self.offset)
            try:
                if self.method != PLAIN:
                    header = file.read(_HEADER_BYTES)
                    name, extra = struct.unpack_from("<HH", header, _LENGTHS)
                    file.seek(name + extra, 1)
                content = file.read(self.size)
                if self.method != zipfile.ZIP_DEFLATED:
                    return content
                return zlib.decompressobj(-zlib.MAX_WBITS).decompress(content, MAX_FILE_BYTES + 1)
            except (struct.error, zlib.error) as error:
                raise OSError(f"a damaged member of the archive: {error}") from None
