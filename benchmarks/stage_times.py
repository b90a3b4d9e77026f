"""Where the seconds of `dvc repro` go: each stage's imports beside its work, its memory, and DVC's
own share.

    python -m benchmarks.stage_times
    python -m benchmarks.stage_times --profile

The first reads what the stages last wrote to logs/ here, whenever each ran. The second runs the
last commit from nothing in a clone, then once more with nothing changed, and measures what DVC does
before each stage too: the time from the end of one stage's process to the start of the next one's.
Its other tables have the processor time of DVC's own process, by cProfile, which makes several
times as much of it: the shares count. Waiting for the stages takes none.
"""

import argparse
import json
import pstats
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from benchmarks.measuring import (
    Timed,
    as_table,
    clone_commit,
    describe_machine,
    machine_lines,
    obtain_weights,
    stopped_by_signals,
)
from transfer.runtime.dvc_files import PIPELINE, stage_names
from transfer.runtime.errors import PipelineError
from transfer.runtime.program import run_program

# What DVC's own process does, by the functions of it and its libraries that do nothing else, which
# do not call one another: (end of the file's path, name).
DVC_PARTS = {
    "reading dvc.yaml, dvc.lock, params.yaml and pins.yaml": [
        ("dvc/utils/serialize/_yaml.py", "parse_yaml"),
    ],
    "writing dvc.lock": [("dvc/utils/serialize/_yaml.py", "_dump")],
    "listing and hashing files": [("dvc_data/hashfile/build.py", "build")],
    "copying outputs to its cache": [("dvc_data/hashfile/transfer.py", "transfer")],
    "its imports": [("<frozen importlib._bootstrap>", "_find_and_load")],
}
PROFILER = """
import cProfile, runpy, sys, time
profile = cProfile.Profile(time.process_time)
output, *sys.argv = sys.argv[1:]
try:
    profile.runcall(runpy.run_module, "dvc", run_name="__main__")
finally:
    profile.dump_stats(output)
"""


@dataclass(frozen=True)
class StageTime:
    """Times of a stage's process, in seconds: by the clock, and of the cores.

    before: from the end of the stage before it, or from the start of the run, to the start of its
    process: DVC's own share. None where no run was watched.
    """

    name: str
    imports: float
    import_cores: float
    work: float
    work_cores: float
    peak_bytes: int
    before: float | None = None


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--profile", action="store_true", help="run the commit in a clone")
    arguments = parser.parse_args()
    print(machine_lines(describe_machine()), end="\n\n")
    if arguments.profile:
        with stopped_by_signals(), tempfile.TemporaryDirectory(prefix="stage-times-") as folder:
            profile(Path(folder), Path.cwd())
    else:
        print(stage_table(read_stage_times(Path())))


def profile(folder: Path, project: Path) -> None:
    """Run the commit in a clone below `folder`, from nothing and then with nothing changed, and
    print both runs' tables."""
    ours, _ = clone_commit(folder, project)
    obtain_weights(ours, project)
    profiled = folder / "profile"
    for name in ("from nothing", "nothing changed"):
        began = time.time()
        run = ours.run([sys.executable, "-c", PROFILER, str(profiled), "dvc", "repro"])
        if name == "from nothing":
            print(stage_table(read_stage_times(ours.folder, began), run), end="\n\n")
        print(f"DVC's own process, {name}, seconds of the cores under cProfile:")
        print(dvc_table(pstats.Stats(str(profiled))), end="\n\n")


def read_stage_times(folder: Path, began: float | None = None) -> list[StageTime]:
    """The stages' times of a project's folder, in the order in which they ran.

    Args:
        began: when the run began that is looked at (`time.time()`); stages that ran earlier are
            left out, and DVC's share is found.

    Raises:
        PipelineError: no stage has run here.
    """
    logs = []
    described = yaml.safe_load((folder / PIPELINE).read_text(encoding="utf-8"))
    for name in stage_names(described["stages"]):
        file = folder / "logs" / f"{name}.json"
        if file.exists():
            logs.append(json.loads(file.read_text(encoding="utf-8")) | {"name": name})
    logs = sorted(
        (log for log in logs if began is None or log["started"] >= began),
        key=lambda log: log["started"],
    )
    if not logs:
        raise PipelineError(f"{folder / 'logs'} has no stage's log; run `make run` first")
    times, free = [], began
    for log in logs:
        starts = log["started"] - log["import_seconds"]
        times.append(
            StageTime(
                log["name"],
                log["import_seconds"],
                log["import_core_seconds"],
                log["seconds"],
                log["core_seconds"],
                log["peak_bytes"],
                None if free is None else max(0.0, starts - free),
            )
        )
        free = None if began is None else log["started"] + log["seconds"]
    return times


def stage_table(times: Sequence[StageTime], run: Timed | None = None) -> str:
    """One line per stage, and their sums.

    Args:
        run: the whole `dvc repro` that they were part of; what is left of it is DVC's.
    """
    header = ["stage", "imports, s", "of the cores", "work, s", "of the cores", "MB"]
    rows = [
        [
            each.name,
            *(
                f"{value:.1f}"
                for value in (each.imports, each.import_cores, each.work, each.work_cores)
            ),
            f"{each.peak_bytes / 1e6:,.0f}",
        ]
        for each in times
    ]
    sums = [
        sum(getattr(each, name) for each in times)
        for name in ("imports", "import_cores", "work", "work_cores")
    ]
    rows.append(
        [
            "all",
            *(f"{value:.1f}" for value in sums),
            f"{max(each.peak_bytes for each in times) / 1e6:,.0f}",
        ]
    )
    if run is None:
        return as_table(header, rows)
    header.append("DVC before it, s")
    last = run.seconds - sum(each.before for each in times) - sums[0] - sums[2]
    rows = [[*row, f"{each.before:.1f}"] for row, each in zip(rows, times, strict=False)] + [
        [*rows[-1], f"{run.seconds - sums[0] - sums[2]:.1f}"]
    ]
    own = run.core_seconds - sums[1] - sums[3]
    return (
        f"{as_table(header, rows)}\nDVC after the last stage: {last:.1f} s. Of the cores, all but "
        f"imports and work: {own:.1f} s"
    )


def dvc_table(stats: pstats.Stats) -> str:
    """Seconds of the parts of DVC's own process, most first, the rest, and all of it."""
    seconds = {
        part: sum(
            cumulative
            for (file, _, function), (_, _, _, cumulative, _) in stats.stats.items()
            if any(file.endswith(end) and function == name for end, name in functions)
        )
        for part, functions in DVC_PARTS.items()
    }
    rows = sorted(seconds.items(), key=lambda item: -item[1])
    rows += [("the rest", stats.total_tt - sum(seconds.values())), ("all", stats.total_tt)]
    return as_table(["part", "s"], [[part, f"{value:.2f}"] for part, value in rows])


if __name__ == "__main__":
    sys.exit(run_program("stage_times", main))
