"""The door of every stage: `--help`, errors for people, and the time it took."""

import argparse
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import yaml

from transfer.errors import PipelineError
from transfer.files import write_json

LOGS = Path("logs")


def run(main: Callable[[], None]) -> None:
    """Run a stage's `main` as a program: `python -m stages.NAME [--help]`.

    A user's mistake (PipelineError) or the machine's refusal (OSError, a full disk say) is printed without a
    traceback and exits with 1; anything else is a bug and keeps its traceback. The duration and the peak of memory go to logs/, which is
    not tracked: a tracked file with them in it would differ from run to run.
    """
    name = Path(sys.argv[0]).stem
    argparse.ArgumentParser(
        prog=f"python -m stages.{name}",
        description=_describe(name),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args()
    started = time.time()
    try:
        main()
    except PipelineError as error:
        sys.exit(f"{name}: {error}")
    except OSError as error:
        place = error.filename2 or error.filename  # of a rename the second is the file that was meant
        named = f"{place}: " if place else ""
        sys.exit(f"{name}: {named}{error.strerror or error}; nothing is half-written: mend that and run the stage again")
    seconds = time.time() - started
    write_json(LOGS / f"{name}.json", {"started": started, "seconds": seconds, "peak_bytes": peak_memory()})
    print(f"{name}: {seconds:.1f} s")


def peak_memory() -> int:
    """The most resident memory that this process has had, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux: there getrusage begins with what the parent had
        return next(int(line.split()[1]) * 1024 for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # macOS, in bytes


def _describe(name: str, pipeline: Path = Path("dvc.yaml")) -> str:
    """What stage `name` is for, reads and writes, as dvc.yaml says it."""
    if not pipeline.exists():
        return f"{pipeline} is not in {Path.cwd()}; run from the project's folder."
    stage = yaml.safe_load(pipeline.read_text(encoding="utf-8"))["stages"][name]
    outputs = [item if isinstance(item, str) else next(iter(item)) for key in ("outs", "metrics", "plots") for item in stage.get(key, [])]
    parts = {"reads": stage.get("deps", []), "parameters": stage.get("params", []), "writes": outputs}
    lines = [stage["desc"] + "."]
    for title, items in parts.items():
        lines += ["", f"{title}:", *(f"  {item}" for item in items)]
    return "\n".join(lines)
