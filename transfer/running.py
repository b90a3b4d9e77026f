"""How many stages of this project run right now: experiments of DVC's queue have several at once, and the cores are divided among them."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import IO

FOLDER = Path("logs/running")


@contextmanager
def counted() -> Iterator[None]:
    """Count this process among the stages that run, until the block ends, or the process however it ends.

    FOLDER has numbered files, and each stage holds the lock of one. None is deleted, so a lock always is of the file that others look at.
    Where nothing can be locked nobody is counted, and each stage takes all cores.
    """
    with ExitStack() as stack:
        with suppress(OSError):
            folder().mkdir(parents=True, exist_ok=True)
            files = (stack.enter_context((folder() / str(number)).open("a")) for number in count())
            next(file for file in files if _locked(file, fcntl.LOCK_EX))
        yield


def stages_running() -> int:
    """This process included, if it is one: 0 where there are none."""
    return sum(map(_is_held, folder().glob("*")))


def folder() -> Path:
    """FOLDER of the main workspace: DVC names it in DVC_ROOT, in the temporary folders of its experiments too."""
    return Path(os.environ.get("DVC_ROOT", ".")) / FOLDER


def _is_held(path: Path) -> bool:
    with suppress(OSError), path.open() as file:
        return not _locked(file, fcntl.LOCK_SH)  # shared, so that those who look do not see each other
    return False


def _locked(file: IO, kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
