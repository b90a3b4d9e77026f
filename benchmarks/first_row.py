"""Seconds until a command that predicts images has printed its first row, and until it ends.

    python -m benchmarks.first_row --images 300 --repeats 5 \\
        ours='python -m transfer predict --format jsonl' \\
        timm='/path/to/python benchmarks/timm_first_row.py' \\
        ultralytics='/path/to/yolo classify predict model=yolo11n-cls.yaml save=False source={path}'

Each command gets one image, and then a folder of the source's images, in the place of {path} or
else as its last word, and prints one line per image with the name of its file; other lines, a
header say, do not count. The commands run in turns, as processes of their own, since the speed of a
shared machine changes. Seconds are those of the clock, and those that the cores worked, which
others on the machine change less; memory is that of the largest process.
"""

import argparse
import os
import shlex
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from itertools import cycle, islice
from pathlib import Path
from statistics import median

from benchmarks.measuring import Place, Timed, as_table, number, spread
from transfer.runtime.program import run_program

MARK = ".image."  # in the names of the images, and so in the rows
SUFFIXES = (".jpg", ".jpeg", ".png")


def main() -> None:
    """Time the commands of the command line in turns and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("commands", nargs="+", metavar="NAME=COMMAND")
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    commands = read_commands(arguments.commands)
    one: dict[str, list[Timed]] = defaultdict(list)
    everything: dict[str, list[Timed]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / "images"
        first = copy_images(images, arguments.images)
        place = Place(Path.cwd(), dict(os.environ), Path(folder) / "log.txt")
        for _ in range(arguments.repeats):
            for name, command in commands.items():
                one[name].append(time_rows(place, command, first, 1))
                everything[name].append(time_rows(place, command, images, arguments.images))
    print(table(one, everything, arguments.images))


def read_commands(words: list[str]) -> dict[str, list[str]]:
    """The commands by name, from NAME=COMMAND."""
    pairs = (word.split("=", 1) for word in words)
    return {name: shlex.split(command) for name, command in pairs}


def copy_images(folder: Path, n: int) -> Path:
    """Write the source's images, again and again until there are `n`, as files; the first."""
    # they import NumPy, and what measures memory starts without it (benchmarks/measuring.py)
    from transfer.runtime.params import load_param
    from transfer.sources.reader import read_source

    folder.mkdir()
    entries = [
        entry
        for entry in read_source(Path(load_param(str, "split.source")))
        if entry.content is not None and Path(entry.path).suffix.lower() in SUFFIXES
    ]
    files = []
    for position, entry in enumerate(islice(cycle(entries), n)):
        files.append(folder / f"{position}{MARK}{Path(entry.path).suffix[1:]}")
        files[-1].write_bytes(entry.content)
    return files[0]


def time_rows(place: Place, command: list[str], path: Path, n: int) -> Timed:
    """Run the command on an image or a folder of `n` and time it.

    Raises:
        PipelineError: it fails, or prints another number of rows.
    """
    words = command if any("{path}" in word for word in command) else [*command, "{path}"]
    words = [word.replace("{path}", str(path)) for word in words]
    return place.run(words, is_row=lambda line: MARK in line, rows=n)


def table(
    one: Mapping[str, list[Timed]], everything: Mapping[str, list[Timed]], n_images: int
) -> str:
    """One line per command: medians over the runs, and the least and most time to the first row."""
    header = ["", "first row, s", "one image, s of the cores", f"images/s of {n_images:,}", "MB"]
    rows = [
        [
            name,
            spread([timed.first_row for timed in timings]),
            number(median(timed.core_seconds for timed in timings)),
            number(n_images / median(timed.seconds for timed in everything[name])),
            f"{max(timed.peak_bytes for timed in everything[name]) / 1e6:,.0f}",
        ]
        for name, timings in one.items()
    ]
    return as_table(header, rows)


if __name__ == "__main__":
    sys.exit(run_program("first_row", main))
