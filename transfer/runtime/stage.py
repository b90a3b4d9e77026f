"""Runs a stage as a program: command line, process lock, input verification, readable errors, run
log."""

import argparse
import errno
import fcntl
import gc
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil
from filelock import FileLock, Timeout

from transfer.runtime.dvc_files import (
    PINS,
    PIPELINE,
    other_versions,
    packages_of,
    params_of,
    read_stage,
    verify_inputs,
)
from transfer.runtime.environment import describe_environment
from transfer.runtime.errors import PipelineError
from transfer.runtime.files import write_json
from transfer.runtime.program import accept_every_character, explain

LOGS = Path("logs")
# seconds to wait for another process of the same stage; an orphan needs a tenth of a second to end
# (transfer/runtime/parent_watch.py)
LOCK_TIMEOUT = 10
# Errors of a file system without locks.
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)

# `starttime`, the 22nd word of /proc/PID/stat, counted behind the program's name, which is the 2nd
# and may have spaces in it (man 5 proc_pid_stat)
_STARTTIME = 19


class Begun(NamedTuple):
    """The moment at which a stage's imports were done and its work began.

    at: by the clock, as `time.time`. age: of the process, in seconds. core_seconds: processor time
    of the process so far.
    """

    at: float
    age: float
    core_seconds: float


def run_stage(main: Callable[..., None], items: Sequence[str] = ()) -> None:
    """Run a stage's `main` as a program: `python -m stages.NAME [--help] [ITEM]`.

    An error that a person can correct (`transfer.runtime.program.explain`) is printed without a
    traceback and exits with 1; anything else is a bug and keeps its traceback. The duration, the
    peak of memory and the environment go to logs/, which is not tracked: a tracked file with them
    in it would differ from run to run.

    Args:
        items: the values of a stage that DVC runs once per value (`matrix` in dvc.yaml); one of
            them is the program's argument then, and that of `main`.
    """
    accept_every_character()
    name = Path(sys.argv[0]).stem
    begun = Begun(time.time(), process_age(), time.process_time())
    # The imports' objects live as long as the process; to search them for garbage as it ends would
    # take up to a second.
    gc.freeze()
    gc.enable()
    try:
        arguments = _parse(name, items)
        name = "@".join([name, *arguments])
        with only_one(name):
            verify_inputs(name)
            _warn_of_versions(name)
            main(*arguments)
            _log(name, begun)
    except Exception as error:
        if (sentence := explain(error)) is None:
            raise
        if isinstance(error, OSError):
            sentence += "; nothing is half-written: fix that and run the stage again"
        sys.exit(f"{name}: {sentence}")
    print(f"{name}: {time.time() - begun.at:.1f} s")


def _parse(name: str, items: Sequence[str]) -> list[str]:
    """The stage's arguments: its item, if it has items."""
    parser = argparse.ArgumentParser(
        prog=f"python -m stages.{name}",
        description=_describe(name),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if items:
        parser.add_argument("item", choices=items)
    return list(vars(parser.parse_args()).values())


def _warn_of_versions(name: str) -> None:
    """Warn of versions other than the pinned ones: dvc.lock names the pinned ones."""
    if others := other_versions(name):
        print(
            f"{name}: warning: dvc.lock will name the versions of {PINS}, but installed are "
            f"{', '.join(others)}",
            file=sys.stderr,
        )


def _log(name: str, begun: Begun) -> None:
    """Write logs/NAME.json: start, duration and processor time of the imports and of the work, peak
    memory, environment."""
    log = {
        "started": begun.at,
        "seconds": time.time() - begun.at,
        "core_seconds": time.process_time() - begun.core_seconds,
        "import_seconds": begun.age,
        "import_core_seconds": begun.core_seconds,
        "peak_bytes": peak_memory(),
        "environment": describe_environment(),
    }
    write_json(LOGS / f"{name}.json", log)


def process_age() -> float:
    """Seconds since this process was started."""
    if not hasattr(time, "CLOCK_BOOTTIME"):
        return time.time() - psutil.Process().create_time()
    # On Linux psutil adds the time of the start to that of the boot, which has whole seconds only.
    words = Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    started = int(words[_STARTTIME]) / os.sysconf("SC_CLK_TCK")
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started


@contextmanager
def only_one(name: str) -> Iterator[None]:
    """Hold the stage's lock in this folder, logs/NAME.lock, which names the process that holds it;
    the system releases it however the process ends.

    Raises:
        PipelineError: another process holds it and does not end within LOCK_TIMEOUT.
    """
    LOGS.mkdir(exist_ok=True)
    path = LOGS / f"{name}.lock"
    if not _has_locks(path):
        print(
            f"{name}: the file system of {Path.cwd()} has no locks: see that no other process runs "
            "this stage here",
            file=sys.stderr,
        )
        yield
        return
    try:
        with FileLock(path, timeout=LOCK_TIMEOUT, poll_interval=0.1):
            path.write_text(str(os.getpid()), encoding="utf-8")
            yield
    except Timeout:
        holder = path.read_text(encoding="utf-8") or "unknown"
        raise PipelineError(
            f"process {holder} runs this stage in {Path.cwd()} too; wait until it ends, or stop "
            "it, and run again"
        ) from None


def _has_locks(path: Path) -> bool:
    """Whether the file system locks files; some that are shared over a network do not."""
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:  # another process holds it
            return True
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            return False
    return True


def peak_memory() -> int:
    """The peak of this process's resident memory, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux: there getrusage begins with what the parent had
        return next(
            int(line.split()[1]) * 1024
            for line in status.read_text().splitlines()
            if line.startswith("VmHWM")
        )
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # macOS, in bytes


def _describe(name: str) -> str:
    """The purpose, inputs and outputs of stage `name`, from dvc.yaml."""
    if not PIPELINE.exists():
        return f"{PIPELINE} is not in {Path.cwd()}; run from the project's folder."
    stage = read_stage(name)
    outputs = [
        item if isinstance(item, str) else next(iter(item))
        for key in ("outs", "metrics", "plots")
        for item in stage.get(key, [])
    ]
    parts = {
        "reads": stage.get("deps", []),
        "parameters": params_of(stage),
        "packages that decide bytes": packages_of(stage),
        "writes": outputs,
    }
    lines = [stage["desc"] + "."]
    for title, items in parts.items():
        lines += ["", f"{title}:", *(f"  {item}" for item in items)]
    return "\n".join(lines)
