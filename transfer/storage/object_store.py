"""Objects at a URL, by name: `s3://`, `gs://` and other protocols of fsspec, or a folder that all
machines can read.

Settings come from the environment, as each store's own tools read them (AWS_ENDPOINT_URL,
AWS_ACCESS_KEY_ID, AWS_PROFILE, ...).
"""

import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Self, TypeVar

from transfer.runtime.errors import PipelineError

T = TypeVar("T")

# seconds in which a store must write and read back a few bytes, before work starts
PROBE_TIMEOUT = 20
EXTRAS = (  # that have the clients, by protocol
    dict.fromkeys(("s3", "s3a"), "s3")
    | dict.fromkeys(("gs", "gcs"), "gs")
    | dict.fromkeys(("az", "abfs", "abfss"), "azure")
)
# An available store answers within seconds; botocore and then s3fs retry temporary failures.
_OPTIONS = {
    "s3": {
        "use_listings_cache": False,
        "config_kwargs": {
            "connect_timeout": 5,
            "read_timeout": 60,
            "retries": {"mode": "standard", "total_max_attempts": 5},
        },
    },
    "gs": {"use_listings_cache": False},
    "azure": {"use_listings_cache": False},
    "file": {"auto_mkdir": True},
}
# Of what a listing says of an object, in fsspec's clients of S3, Google and Azure, and on disks.
_VERSIONS = ("ETag", "etag", "LastModified", "mtime")
_UNREACHED = (
    "EndpointConnectionError",
    "ConnectTimeoutError",
    "ReadTimeoutError",
    "ConnectionClosedError",
    "ClientConnectorError",
)
_NO_CREDENTIALS = (
    "NoCredentialsError",
    "PartialCredentialsError",
    "DefaultCredentialsError",
    "NoAuthTokenError",
    "ProfileNotFound",
)


def is_url(place: str) -> bool:
    """Whether a place is a URL and not a path on this machine."""
    return "://" in place


class ObjectStore:
    """The objects below a URL.

    Args:
        named: the parameter that holds the URL, for messages.

    Raises:
        PipelineError: from every method, if the store fails; a missing object is a
            FileNotFoundError.
    """

    def __init__(self, url: str, named: str):
        self.url, self._named = url.rstrip("/") or url, named
        protocol = url.split("://")[0] if is_url(url) else "file"
        if protocol == "file" and not url.removeprefix("file://").startswith("/"):
            raise PipelineError(
                f"{named} = {url!r}: neither s3://... or the like nor an absolute path; "
                "experiments run in other folders"
            )
        import fsspec  # a tenth of a second; most arrays are files

        extra = EXTRAS.get(protocol)
        try:
            self._files, self._root = fsspec.url_to_fs(url, **_OPTIONS.get(extra or protocol, {}))
        except ImportError as error:
            how = (
                f"`make .venv/extra-{extra}` installs it, and requirements/{extra}.txt has it for "
                "a node of a cluster"
                if extra
                else f"install what is missing: {error}"
            )
            raise PipelineError(
                f"{named} = {url!r}: the client for {protocol}:// is not installed; {how}"
            ) from None
        # unknown protocols, and errors of a client that settings in the environment cause
        except Exception as error:
            raise PipelineError(f"{named} = {url!r}: {_reason(error)}") from None
        self._is_atomic = protocol == "memory" or extra is not None

    def __reduce__(self) -> tuple:
        return ObjectStore, (self.url, self._named)

    def read(self, name: str, start: int | None = None, end: int | None = None) -> bytes:
        """An object's bytes, or those from `start` up to `end`."""
        return self._call(lambda: self._files.cat_file(self._path(name), start, end))

    def size(self, name: str) -> int | None:
        """Size of an object in bytes; None if there is no such object."""
        try:
            return self._call(lambda: self._files.info(self._path(name)))["size"]
        except FileNotFoundError:
            return None

    def put(self, name: str, file: Path) -> None:
        """Store a file under a name, where it appears whole or not at all."""
        self._put(name, lambda path: self._files.put_file(str(file), path))

    def put_bytes(self, name: str, content: bytes) -> None:
        """Store bytes under a name, where they appear whole or not at all."""
        self._put(name, lambda path: self._files.pipe_file(path, content))

    def _put(self, name: str, write: Callable[[str], None]) -> None:
        if self._is_atomic:
            try:
                self._call(lambda: write(self._path(name)))
            except FileNotFoundError:
                raise PipelineError(
                    f"{self._named} = {self.url!r}: there is no such bucket any more; create it "
                    "again, or correct the URL"
                ) from None
            return
        folder, _, last = name.rpartition("/")
        temporary = self._path(f"{folder}/.tmp-{secrets.token_hex(8)}-{last}".lstrip("/"))
        try:
            self._call(lambda: write(temporary))
            self._call(lambda: self._files.mv(temporary, self._path(name)))
        except PipelineError:
            with suppress(Exception):  # a full disk leaves half a file, a lost one nothing
                self._files.rm_file(temporary)
            raise

    def delete(self, name: str) -> None:
        """Delete an object."""
        self._call(lambda: self._files.rm_file(self._path(name)))

    def walk(self, below: str = "") -> Iterator[tuple[str, int | None]]:
        """Names and sizes of all objects below a prefix, folder by folder, by name; a folder's ends
        in `/` and has no size."""
        return ((name, size) for name, size, _ in self.walk_versions(below))

    def walk_versions(self, below: str = "") -> Iterator[tuple[str, int | None, str]]:
        """As `walk`, with what changes when an object does: its ETag, or when it was written; empty
        where the store says neither."""
        waiting = [below.strip("/")]
        while waiting:
            folder = waiting.pop()
            if folder != below.strip("/"):
                yield folder + "/", None, ""
            for entry in self._children(folder):
                name = entry["name"].rstrip("/").removeprefix(self._root).lstrip("/")
                if entry["type"] == "directory":
                    waiting.append(name)
                elif name != folder:  # the empty object that some tools create for a folder
                    version = next((entry[key] for key in _VERSIONS if entry.get(key)), "")
                    yield name, entry["size"], str(version)

    def _children(self, folder: str) -> list[dict]:
        """The content of a folder: files by name, then folders in reverse order of their names."""
        entries = self._call(lambda: self._files.ls(self._path(folder).rstrip("/"), detail=True))
        folders = sorted(
            (entry for entry in entries if entry["type"] == "directory"),
            key=lambda entry: entry["name"],
            reverse=True,
        )
        return (
            sorted(
                (entry for entry in entries if entry["type"] != "directory"),
                key=lambda entry: entry["name"],
            )
            + folders
        )

    def check_writable(self) -> None:
        """Put a few bytes, read them back and delete them within PROBE_TIMEOUT, before the work
        starts.

        Raises:
            PipelineError: no such bucket or folder, no permission, no credentials, or no answer.
        """
        name = f".probe-{secrets.token_hex(8)}"

        def probe() -> None:
            self._check_root()
            self._files.pipe_file(self._path(name), b"probe")
            if self._files.cat_file(self._path(name)) != b"probe":
                raise OSError("it returns bytes that differ from those written")
            self._files.rm_file(self._path(name))

        self._with_timeout(probe)

    def check_exists(self) -> None:
        """Raises PipelineError if there is no such bucket or folder, or it does not answer within
        PROBE_TIMEOUT."""
        self._with_timeout(self._check_root)

    def _check_root(self) -> None:
        """Buckets and folders are not created: a missing one is a wrong name, or a disk that is not
        mounted."""
        top = self._root if self._files.protocol[0] == "file" else self._root.split("/")[0]
        # permission to write below a bucket does not include permission to list it
        with suppress(PermissionError):
            self._files.info(top)

    def _with_timeout(self, work: Callable[[], None]) -> None:
        problem: list[BaseException | None] = []

        def run() -> None:
            try:
                work()
                problem.append(None)
            except BaseException as error:
                problem.append(error)

        # a client that waits for minutes must not keep the process alive
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join(PROBE_TIMEOUT)
        error = problem[0] if problem else TimeoutError(f"no answer within {PROBE_TIMEOUT} seconds")
        if isinstance(error, FileNotFoundError):
            raise PipelineError(
                f"{self._named} = {self.url!r}: no such bucket or folder; create it or correct the "
                "URL"
            ) from None
        if error is not None:
            raise PipelineError(f"{self._named} = {self.url!r}: {_reason(error)}") from None

    def _call(self, question: Callable[[], T]) -> T:
        try:
            return question()
        except FileNotFoundError:
            raise
        except Exception as error:  # each store's client has exceptions of its own
            raise PipelineError(f"{self._named} = {self.url!r}: {_reason(error)}") from None

    def _path(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"

    def __eq__(self, other: Self) -> bool:
        return isinstance(other, ObjectStore) and self.url == other.url

    __hash__ = None


def _reason(error: BaseException) -> str:
    """What went wrong and what to do, from the exceptions of fsspec and of the stores' clients,
    which need not be installed."""
    kind = {each.__name__ for each in type(error).__mro__}
    if kind & {*_NO_CREDENTIALS}:
        return (
            f"no credentials ({error}); set them as the store's own tools read them "
            "(for example AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY)"
        )
    if isinstance(error, TimeoutError) or kind & {*_UNREACHED}:
        return (
            f"it cannot be reached ({error}); check the network and the address (AWS_ENDPOINT_URL, "
            "if it is not Amazon's)"
        )
    if isinstance(error, PermissionError):
        why = error.strerror or error
        return (
            f"refused ({why}); check the credentials, and that they may list, read, write and "
            "delete there"
        )
    if isinstance(error, OSError) and error.strerror:
        return str(error.strerror)
    return str(error or type(error).__name__)
