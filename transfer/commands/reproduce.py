"""`make reproduce`: run the committed pipeline from scratch in two fresh clones and check that both
give the same bytes.

The clones are in folders of different names and depths and share only the environment. The second
one uses a single core if the system can limit it (Linux). Prints a table of every output in
dvc.lock and deploy/dvc.lock; exits with 1 if hashes differ. Uncommitted changes are not run.
KERAS_BACKEND chooses the backend: one may differ from another, but not from itself.
"""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

from transfer.runtime.dvc_files import PIPELINES, locked_stages
from transfer.runtime.errors import PipelineError
from transfer.runtime.program import command_parser

PLACES = ("one", "another/and/deeper/two")


def main(argv: list[str]) -> int:
    """Run the pipeline in two clones and print the table of outputs; the exit code is 1 if one
    differs."""
    command_parser("reproduce", __doc__).parse_args(argv)
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    with tempfile.TemporaryDirectory(prefix="reproduce-") as folder:
        clones = [Path(folder) / place for place in PLACES]
        one_core = 1 if hasattr(os, "sched_setaffinity") else None
        for clone, cores in zip(clones, (None, one_core), strict=True):
            started = time.monotonic()
            run_from_nothing(clone, cores)
            print(
                f"{clone.name}: {cores or 'every'} core, {time.monotonic() - started:.0f} s",
                flush=True,
            )
        hashes = [read_hashes(clone) for clone in clones]
    table = compare(*hashes, committed=read_hashes(Path()))
    same, committed = int(table["same"].sum()), int(table["as committed"].sum())
    print(f"\n{table.to_string(index=False)}\n")
    print(
        f"{backend}: {same} of {len(table)} outputs are the same bytes in both; {committed} are "
        "those of the committed dvc.lock."
    )
    return int(same != len(table))


def run_from_nothing(clone: Path, cores: int | None) -> None:
    """Clone the commit into a new folder and reproduce it, on the first `cores` of the available
    cores.

    Raises:
        PipelineError: there is no commit, or a stage fails.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DVC_")}
    # a folder of the clone, not the one that all users of the machine share
    environment["DVC_SITE_CACHE_DIR"] = str(clone / ".dvc/tmp/site")
    # so that `python` of dvc.yaml is found
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    clone.parent.mkdir(parents=True, exist_ok=True)
    cloning = ["git", "clone", "--quiet", str(Path.cwd()), str(clone)]
    if subprocess.run(cloning, check=False).returncode:  # noqa: S603, no shell
        raise PipelineError(
            f"git cannot clone {Path.cwd()}; reproduce runs what is committed, so make it a git "
            "repository and commit"
        )
    pipelines = [str(file) for file in PIPELINES if (clone / file).exists()]
    command = [sys.executable, "-m", "dvc", "repro", "--force", *pipelines]
    hold = (
        None
        if cores is None
        else lambda: os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    )
    finished = subprocess.run(command, cwd=clone, env=environment, check=False, preexec_fn=hold)  # noqa: S603, no shell
    if finished.returncode:
        raise PipelineError(f"dvc repro failed in {clone} (exit {finished.returncode})")


def read_hashes(project: Path) -> dict[tuple[str, str], str]:
    """MD5 by stage and output in a project's locks; for a folder it is the MD5 of the list of its
    files' names and MD5."""
    with contextlib.chdir(project):
        return {
            (name, output["path"]): output["md5"]
            for name, stage in locked_stages().items()
            for output in stage.get("outs", [])
        }


def compare(one: dict, other: dict, committed: dict) -> pd.DataFrame:
    """One row per output of either run: stage, output, both hashes, whether they are equal, and
    whether they equal the committed hash."""
    rows = [
        {
            "stage": stage,
            "output": path,
            "one": one.get((stage, path), "missing"),
            "two": other.get((stage, path), "missing"),
            "same": one.get((stage, path)) == other.get((stage, path)),
            "as committed": one.get((stage, path)) == committed.get((stage, path)),
        }
        for stage, path in dict.fromkeys([*one, *other])
    ]
    return pd.DataFrame(rows)
