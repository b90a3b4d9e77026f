"""What the benchmarks share: a clone of the commit, timed commands, medians, the machine in words.

Imports no NumPy and no pandas: Linux counts the memory of the process that starts a command as that
command's, up to the moment at which it begins, so this one must be smaller than all that it
measures.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median

import psutil

from benchmarks import INHERITED
from transfer.runtime.environment import describe_environment
from transfer.runtime.errors import PipelineError

DVC = (sys.executable, "-m", "dvc")
_SHOWN = 3000  # characters of a failed command's output
_GRACE = 5  # seconds for the processes of a command that was killed to be gone


@dataclass(frozen=True)
class Timed:
    """One run of a command.

    seconds: of the clock. core_seconds: that the cores worked, in all its processes. peak_bytes:
    resident memory of its largest process. first_row: seconds until the first row, None where rows
    were not looked for.
    """

    seconds: float
    core_seconds: float
    peak_bytes: int
    first_row: float | None = None


@dataclass(frozen=True)
class Place:
    """Where commands run: a folder, the variables that they get, and the file that takes what they
    print."""

    folder: Path
    environment: Mapping[str, str]
    log: Path

    def run(
        self, command: Sequence[str], is_row: Callable[[str], bool] | None = None, rows: int = 0
    ) -> Timed:
        """Run a command to its end.

        Args:
            is_row: which lines of standard output are rows; they are counted then.
            rows: how many of them there must be.

        Raises:
            PipelineError: it fails, or prints another number of rows.
        """
        with self.log.open("ab") as log:
            place = log.tell()
            started, first, found = time.perf_counter(), None, 0
            try:
                process = subprocess.Popen(
                    command,
                    cwd=self.folder,
                    env=self.environment,
                    stdout=log if is_row is None else subprocess.PIPE,
                    stderr=log,
                    # so that Ctrl-C reaches this process alone, which then ends the others
                    start_new_session=True,
                )
                with process.stdout or nullcontext(()) as lines:
                    for line in lines:
                        if is_row(line.decode(errors="replace")):
                            first = first or time.perf_counter() - started
                            found += 1
                _, status, usage = os.wait4(process.pid, 0)
            except BaseException:
                # also where it was interrupted before Popen had returned
                end_children()
                raise
            seconds = time.perf_counter() - started
            process.returncode = os.waitstatus_to_exitcode(status)
        words = " ".join(map(str, command))
        if process.returncode:
            with self.log.open("rb") as log:
                log.seek(place)
                printed = log.read().decode(errors="replace")[-_SHOWN:]
            raise PipelineError(f"{words}: exit code {process.returncode}\n{printed}")
        if is_row is not None and found != rows:
            raise PipelineError(f"{words}: {found} rows of {rows}")
        peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        return Timed(seconds, usage.ru_utime + usage.ru_stime, peak, first)

    def read_numbers(self, command: Sequence[str]) -> tuple[dict, Timed]:
        """Run a command that writes one JSON object to the file `{output}` in its words; the object
        and the run."""
        output = self.log.with_name("numbers.json")
        output.unlink(missing_ok=True)
        timed = self.run([str(word).replace("{output}", str(output)) for word in command])
        return json.loads(output.read_text(encoding="utf-8")), timed


def end_children() -> None:
    """Kill all processes that this one has started, with what they have started, and wait until
    they are gone, since they could still write into a folder that is about to be deleted."""
    own = os.getpgrp()
    members = psutil.Process().children(recursive=True)
    for member in members:
        with suppress(ProcessLookupError, psutil.NoSuchProcess):
            # a group may hold orphans, which are in no list of children
            if (group := os.getpgid(member.pid)) != own:
                os.killpg(group, signal.SIGKILL)
            member.kill()
    psutil.wait_procs(members, timeout=_GRACE)


@contextmanager
def stopped_by_signals():
    """Let a request to terminate raise SystemExit, as Ctrl-C raises KeyboardInterrupt, so that
    whatever the block has begun is cleaned up."""

    def stop(number: int, _: object) -> None:
        sys.exit(128 + number)

    previous = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def clone_commit(folder: Path, project: Path) -> tuple[Place, Place]:
    """A clone of the project's last commit at folder/clone. Two places with that folder: for the
    pipeline, and for other programs, which are not held to what the pipeline sets for itself.

    Raises:
        PipelineError: there is no commit, or Git or DVC is not installed.
    """
    clone, log = folder / "clone", folder / "log.txt"
    given = {name: value for name, value in INHERITED.items() if not name.startswith("DVC_")}
    given |= {
        # where dvc.yaml's `python` is to be found
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{given['PATH']}",
        "DVC_NO_ANALYTICS": "true",
        # its own, not the one that all users of the machine share
        "DVC_SITE_CACHE_DIR": str(folder / "site"),
    }
    Place(project, given, log).run(["git", "clone", "--quiet", str(project), str(clone)])
    ours = Place(clone, given, log)
    for setting in (("user.name", "benchmark"), ("user.email", "benchmark@localhost")):
        ours.run(["git", "config", *setting])
    ours.run([*DVC, "config", "--local", "core.check_update", "false"])
    # Keras writes a settings file into the user's home unless it has one
    return ours, Place(clone, given | {"KERAS_HOME": str(folder / "keras")}, log)


def obtain_weights(ours: Place, project: Path) -> None:
    """Have the clone's weights: copied where the project has them, else as `dvc repro weights`
    obtains them."""
    source = project / "data" / "weights"
    if source.is_dir():
        target = ours.folder / "data" / "weights"
        target.mkdir(parents=True, exist_ok=True)
        for file in source.iterdir():
            (target / file.name).write_bytes(file.read_bytes())
    # takes a copy that is what dvc.lock names
    ours.run([*DVC, "repro", "weights"])


def has_changes(project: Path) -> bool:
    """Whether files differ from the last commit, or are not in it and not ignored either."""
    # without the option it would write Git's index
    command = ["git", "--no-optional-locks", "status", "--porcelain"]
    listed = subprocess.run(command, cwd=project, check=True, capture_output=True, text=True)
    return bool(listed.stdout)


def spread(values: Sequence[float]) -> str:
    """The median, with the least and the most where there are several: `3.2 (3.1 to 4.0)`."""
    middle = number(median(values))
    if len(values) == 1:
        return middle
    return f"{middle} ({number(min(values))} to {number(max(values))})"


def number(value: float) -> str:
    """Three digits that count, and no fewer before the point: 0.123, 1.23, 12.3, 1,234."""
    digits = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3
    return f"{value:,.{digits}f}"


def as_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lines of columns two spaces apart: the first column to the left, as are those of words; those
    that begin with a digit to the right."""
    columns = list(zip(header, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    to_right = [all(cell[:1].isdigit() or cell == "" for cell in column[1:]) for column in columns]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, to_right, strict=True)
        ).rstrip()
        for line in (header, *rows)
    )


def describe_machine() -> dict:
    """Processor, cores, instruction sets, GPUs, memory, load, system and versions."""
    environment = describe_environment()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "processor": environment["processor"],
        "cores": environment["cores"],
        "instructions": environment["instructions"],
        "gpus": gpu_names(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "load_at_start": load,
        "system": environment["system"],
        "python": environment["python"],
        "packages": {name: installed for name in _PACKAGES if (installed := _version(name))},
    }


_PACKAGES = ("tensorflow", "keras", "ai-edge-litert", "numpy", "dvc")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def gpu_names() -> list[str]:
    """NVIDIA's cards, as its driver lists them; none where there is no driver."""
    try:
        listed = subprocess.run(
            ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return []
    return listed.stdout.splitlines()


def machine_lines(machine: dict) -> str:
    """The machine, as the top of a table."""
    lines = [
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB",
        f"instruction sets: {', '.join(machine['instructions']) or 'unknown'}",
        *(f"GPU: {name}" for name in machine["gpus"]),
        f"{machine['system']}, Python {machine['python']}, "
        + ", ".join(f"{name} {found}" for name, found in machine["packages"].items()),
    ]
    if machine["load_at_start"] is not None:
        lines.append(f"load when it began: {machine['load_at_start']:.2f}")
    return "\n".join(lines)
