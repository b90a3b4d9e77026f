"""Checksums of files and of lists of parts."""

import hashlib
from pathlib import Path


def content_key(*parts: bytes) -> bytes:
    """SHA-256 of the parts, each with its length in front, so that no two lists of parts are joined
    to the same bytes."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.digest()


def file_checksum(path: Path, algorithm: str = "sha256") -> str:
    """A file's checksum in lower-case hexadecimal.

    Args:
        algorithm: a name that hashlib knows: sha256, or md5 for files that DVC or Keras lists.

    Raises:
        OSError: the file is missing or cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(
            file, lambda: hashlib.new(algorithm, usedforsecurity=False)
        ).hexdigest()
