"""Seconds until a command that predicts images has printed its first row, and until it ends.

    python -m benchmarks.first_row --images 300 --repeats 5 \\
        ours='python -m transfer predict --format jsonl' \\
        other='/path/to/python /path/to/its_script.py'

Each command gets one image, and then a folder of the source's images, as its last word, and prints
one line per image; lines without the image's suffix, a header say, do not count. The commands run
in turns, as processes of their own, since the speed of a shared machine changes. Seconds are those
of the clock, and those that the cores worked, which others on the machine change less.
"""

import argparse
import resource
import shlex
import subprocess
import tempfile
import time
from collections import defaultdict
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import NamedTuple

from transfer.runtime.params import load_param
from transfer.sources.reader import read_source

SUFFIX = ".image.jpg"


class Timing(NamedTuple):
    """Seconds of one run: until the first row, until the end, and of the cores."""

    first: float
    total: float
    cores: float


def main() -> None:
    """Time the commands of the command line in turns and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("commands", nargs="+", metavar="NAME=COMMAND")
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    commands = dict(each.split("=", 1) for each in arguments.commands)
    timings: dict[tuple[str, str], list[Timing]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / "images"
        copy_images(Path(load_param(str, "split.source")), images, arguments.images)
        for _ in range(arguments.repeats):
            for name, command in commands.items():
                one = images / f"0{SUFFIX}"
                timings[name, "one"].append(run(shlex.split(command), one, 1))
                timings[name, "all"].append(run(shlex.split(command), images, arguments.images))
    show(commands, timings, arguments.images)


def copy_images(source: Path, folder: Path, n: int) -> None:
    """The first `n` of the source's JPEG images, again and again, as files."""
    folder.mkdir()
    contents = [
        entry.content
        for entry in read_source(source)
        if entry.content is not None and entry.path.endswith((".jpg", ".jpeg"))
    ]
    for number, content in enumerate(islice(cycle(contents), n)):
        (folder / f"{number}{SUFFIX}").write_bytes(content)


def run(command: list[str], path: Path, n: int) -> Timing:
    """Run the command on an image or a folder of `n` and time it.

    Raises:
        SystemExit: it fails, or prints another number of rows.
    """
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    first, rows = None, 0
    with subprocess.Popen([*command, str(path)], stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if SUFFIX in line:
                first = first or time.perf_counter() - started
                rows += 1
    total = time.perf_counter() - started
    if process.returncode or rows != n:
        raise SystemExit(
            f"{shlex.join(command)}: exit code {process.returncode}, {rows} rows of {n}"
        )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cores = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Timing(first, total, cores)


def show(
    commands: dict[str, str], timings: dict[tuple[str, str], list[Timing]], n_images: int
) -> None:
    """Print medians over the runs, and the lowest and highest time to the first row."""
    print(f"{'':24}first row, s        one image, s of the cores  images/s of {n_images:,}")
    for name in commands:
        one, everything = timings[name, "one"], timings[name, "all"]
        first = sorted(timing.first for timing in one)
        rates = [n_images / timing.total for timing in everything]
        print(
            f"{name:24}{median(first):6.2f} ({first[0]:.2f} to {first[-1]:.2f})"
            f"{median(timing.cores for timing in one):26.2f}{median(rates):17.1f}"
        )


if __name__ == "__main__":
    main()
