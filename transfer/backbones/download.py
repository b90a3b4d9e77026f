"""Downloads a large file over HTTP to where Keras keeps its own: an interrupted download is
resumed, the file is checked, and it gets its name only when it is complete."""

import os
import sys
import tempfile
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse
from io import FileIO
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from filelock import FileLock, Timeout
from tqdm import tqdm

from transfer.runtime.checksums import file_checksum
from transfer.runtime.errors import PipelineError

TIMEOUT_SECONDS = 60  # without a byte; a whole download may take longer
# connections per download; a further one is opened only if the one before broke off after some
# bytes
ATTEMPTS = 5
_PIECE = 2**18


class DownloadError(Exception):
    """Why a download failed, as a message for people."""


def algorithm_of(checksum: str) -> str:
    """Which of the two algorithms a checksum is of, recognised as in Keras, which lists both."""
    return "sha256" if len(checksum) == 64 else "md5"


def kept_path(name: str) -> Path:
    """Where Keras keeps a file that it downloads, so that the two find each other's:
    $KERAS_HOME/models or ~/.keras/models; if that cannot be written, a temporary folder."""
    home = Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser()
    kept = home / "models" / name
    nearest = next(folder for folder in kept.parents if folder.exists())
    if kept.exists() or os.access(nearest, os.W_OK):
        return kept
    return Path(tempfile.gettempdir(), ".keras", "models", name)


def has_checksum(file: Path, checksum: str) -> bool:
    """Whether there is a file with this MD5 or SHA-256."""
    return file.exists() and file_checksum(file, algorithm_of(checksum)) == checksum


def part_of(target: Path) -> Path:
    """Where a download is kept until it is whole."""
    return target.with_name(f".{target.name}.part")


def download(url: str, target: Path, checksum: str, most_bytes: int) -> None:
    """Fetch a file to `target`. The bytes received stay in `part_of(target)`, however this ends,
    and the next call resumes from there.

    Args:
        checksum: MD5 or SHA-256. A file with another one is deleted.
        most_bytes: further bytes are not accepted.

    Raises:
        DownloadError: the address cannot be reached, breaks off, or has another file.
        PipelineError: another process is fetching this file.
        OSError: it cannot be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = part_of(target)
    try:
        # the part is its own lock file, so that no other file stays behind
        lock = FileLock(part, timeout=0, fallback_to_soft=False)
        with lock, part.open("ab", buffering=0) as file:
            _complete(url, file, part, checksum, most_bytes)
            part.replace(target)
    except Timeout:
        raise PipelineError(
            f"{part}: another process is fetching this file; run this again when it has ended"
        ) from None


def _complete(url: str, file: FileIO, part: Path, checksum: str, most_bytes: int) -> None:
    """Fetch the missing bytes of the file `part` and check it; if that fails, an empty file is
    deleted."""
    resumes = file.tell() > 0
    try:
        _fetch(url, file, most_bytes)
        # for example, its beginning came from another server
        if resumes and file_checksum(part, algorithm_of(checksum)) != checksum:
            _empty(file)
            _fetch(url, file, most_bytes)
        if (found := file_checksum(part, algorithm_of(checksum))) != checksum:
            _empty(file)
            raise DownloadError(
                f"sent another file: its {algorithm_of(checksum)} is {found}, not {checksum}"
            )
    finally:
        if file.tell() == 0:
            part.unlink(missing_ok=True)


def _fetch(url: str, file: FileIO, most_bytes: int) -> None:
    """Append the missing bytes, over several connections as long as each brings some."""
    for left in reversed(range(ATTEMPTS)):
        had = file.tell()
        try:
            _append(url, file, most_bytes)
        except DownloadError:
            if left == 0 or file.tell() <= had:
                raise
        else:
            return


def _append(url: str, file: FileIO, most_bytes: int) -> None:
    had = file.tell()
    request = Request(url, headers={"Range": f"bytes={had}-"} if had else {})  # noqa: S310, not an address that a user typed
    try:
        response = urlopen(request, timeout=TIMEOUT_SECONDS)  # noqa: S310
    except HTTPError as error:
        error.close()
        if had and error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:  # all of it is there
            return
        raise DownloadError(f"HTTP {error.code} {error.reason}") from None
    except (OSError, HTTPException) as error:
        raise _download_error(error) from None
    with response:
        # a server without support for ranges sends the whole file
        if response.status != HTTPStatus.PARTIAL_CONTENT:
            had = _empty(file)
        length = response.headers["Content-Length"]
        whole = None if length is None else had + int(length)
        with tqdm(
            total=whole, initial=had, unit="B", unit_scale=True, disable=not sys.stderr.isatty()
        ) as progress:
            while file.tell() <= most_bytes and (piece := _read(response)):
                _write(file, piece)
                progress.update(len(piece))
        if whole is not None and file.tell() < min(whole, most_bytes):
            raise DownloadError(f"broke off after {file.tell():,} of {whole:,} bytes")


def _read(response: HTTPResponse) -> bytes:
    try:
        return response.read1(_PIECE)
    except (OSError, HTTPException) as error:
        raise _download_error(error) from None


def _write(file: FileIO, piece: bytes) -> None:
    try:
        while piece:
            piece = piece[file.write(piece) :]
    except OSError as error:
        # a full disk is noticed in writing, and only an error of opening names the file
        error.filename = file.name
        raise


def _empty(file: FileIO) -> int:
    file.truncate(0)
    return file.seek(0)


def _download_error(error: Exception) -> DownloadError:
    reason = getattr(error, "reason", error)
    return DownloadError(getattr(reason, "strerror", None) or str(reason) or type(reason).__name__)
