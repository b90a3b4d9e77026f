"""What runs on a node of the cluster. It is sent there as it stands, so it knows nothing of the project until it has unpacked it."""

import io
import os
import pickle
import platform
import shutil
import sys
import tempfile
import traceback
import zipfile
from importlib.metadata import PackageNotFoundError, version

DECIDE_BITS = ("keras", "tensorflow", "jax", "torch", "numpy", "scipy", "pillow", "imagehash")


class Worker:
    """A process that does batches of one kind of work.

    Args:
        luggage: a zip archive: the package `transfer`, and the files that the work reads.
        work: pickled, an object of that package with `start()`.
        environment: variables that the work is to see.
    """

    def __init__(self, luggage: bytes, work: bytes, environment: dict[str, str]):
        self._luggage, self._work, self._environment = luggage, work, environment
        self._function = None

    def hello(self) -> dict:
        """Start the work. What it says: where it is, what it computes with, and `about` or the `error` that it met."""
        said = {"host": platform.node(), "pid": os.getpid(), "versions": versions()}
        folder = tempfile.mkdtemp(prefix="transfer-")
        try:
            zipfile.ZipFile(io.BytesIO(self._luggage)).extractall(folder)
            os.chdir(folder)
            os.environ.update(self._environment)
            sys.path.insert(0, folder)
            self._function = pickle.loads(self._work).start()  # noqa: S301 - from the process that started this one
            return said | {"about": self._function.about}
        except Exception as error:
            return said | {"error": _with_traceback(error)}
        finally:  # a worker that is killed could not do it later
            os.chdir("/")
            shutil.rmtree(folder, ignore_errors=True)
            self._luggage = self._work = b""

    def call(self, items: list) -> tuple[bool, object]:
        """Whether it went well, and the results or the exception."""
        try:
            return True, self._function(items)
        except Exception as error:
            return False, _with_traceback(error)


def _with_traceback(error: Exception) -> Exception:
    """A traceback is not pickled with its exception; a note is."""
    error.add_note(traceback.format_exc())
    return error


def versions() -> dict[str, str]:
    """Python and the packages that decide a result's bits, as far as they are installed."""
    found = {"python": platform.python_version()}
    for name in DECIDE_BITS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
