"""Ends a stage when the DVC that runs it has ended.

A killed DVC leaves its stage running, and the stage would continue to write files that the next
`dvc repro` deletes, restores or writes itself. `stages/__init__.py` calls it, so that it works from
the stage's first moment.
"""

import os
import sys
import threading
import time
from contextlib import suppress

import psutil

_SHELLS = {"sh", "ash", "bash", "dash", "fish", "ksh", "zsh"}
_SECONDS = 0.1


def exit_with_dvc() -> None:
    """If DVC runs this process, end it as soon as that DVC has ended."""
    if "DVC_STAGE" in os.environ:
        threading.Thread(target=_watch, args=(_ancestors(),), daemon=True).start()


def _ancestors() -> list[int]:
    """The parent, and also its parent if the first one is the shell in which DVC runs commands: the
    last one is DVC.

    The watch compares these ids instead of searching for DVC's process: a process whose parent ends
    gets another parent at once, while the ended one may stay in the process table for some time.
    """
    parent = os.getppid()
    with suppress(psutil.Error):
        process = psutil.Process(parent)
        if process.name() in _SHELLS:
            return [parent, process.ppid()]
    return [parent]


def _watch(ancestors: list[int]) -> None:
    orphaned = ancestors[-1] == 1 and not _is_dvc(1)
    while not orphaned:
        time.sleep(_SECONDS)
        orphaned = _ancestors() != ancestors
    with suppress(OSError):
        print(
            f"{os.environ['DVC_STAGE']}: the DVC that ran this stage is gone, so it stops; nothing "
            "is half-written",
            file=sys.stderr,
            flush=True,
        )
    # the main thread may be in a long computation; a file that it was writing has a temporary name
    os._exit(1)


def _is_dvc(pid: int) -> bool:
    """In a container DVC may be process 1 itself."""
    with suppress(psutil.Error):
        return any("dvc" in word for word in psutil.Process(pid).cmdline())
    return False
