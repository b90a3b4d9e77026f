"""Checksums of bytes, files and lists of parts."""

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


def sha256_of(path: Path) -> str:
    """sha256 of a file's bytes, in lower-case hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
