"""What DVC and `python -m transfer` take for an array of a million rows in ten thousand shards, of
which DVC has the index.

Makes the shards, small ones, in a folder that stands for the bucket, and a project of one stage
whose output is the index. Prints seconds, processor time and the peak of memory of each command;
the files of the array itself are read by `verify` and `shards check` only.
"""

import argparse
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import yaml

from transfer.storage.array_writer import write_sharded
from transfer.storage.object_store import ObjectStore
from transfer.storage.shard_writer import ShardBuffer
from transfer.storage.sharded_array import Index

ROOT = Path(__file__).parents[2]
OUTPUT = "data/features/train"
STAGE = {"cmd": "false", "outs": [OUTPUT]}  # it is never run: its output is there
COMMANDS = {
    "dvc commit (hashes the index)": ["dvc", "commit", "--force", "--quiet"],
    "dvc status": ["dvc", "status"],
    "dvc push": ["dvc", "push"],
    "dvc pull, nothing there": ["dvc", "pull"],
    "python -m transfer verify": ["python", "-m", "transfer", "verify"],
    "python -m transfer shards check": ["python", "-m", "transfer", "shards", "check"],
}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scale_study.dvc_index", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--shards", type=int, default=10_000)
    parser.add_argument("--numbers", type=int, default=8, help="of a row, 4 bytes each")
    arguments = parser.parse_args()
    with TemporaryDirectory(prefix="dvc-index-") as folder:
        project = Path(folder, "project")
        make_project(project, arguments.rows, arguments.shards, arguments.numbers)
        size = next((project / OUTPUT).glob("*")).stat().st_size
        print(f"{arguments.rows:,} rows, {arguments.shards:,} shards, index of {size / 1e6:.2f} MB")
        rows = {"python -m transfer, without a command's work": measure(project, IMPORTS)}
        for name, words in COMMANDS.items():
            if name.startswith("dvc pull"):
                forget(project)
            rows[name] = measure(project, words)
        print(pd.DataFrame.from_dict(rows, orient="index").to_string())


IMPORTS = ["python", "-m", "transfer", "shards", "--help"]


def make_project(project: Path, rows: int, shards: int, numbers: int) -> None:
    """A repository with the index of an array (rows, numbers), whose shards are stored."""
    place = project.parent / "place"
    place.mkdir(parents=True)
    store = ObjectStore(str(place), "resources.shards_url")
    index = Index("float32", (rows,), (numbers,), -(-rows // shards), ())
    rng = np.random.default_rng(0)
    made = []
    for number in range(index.shards_a_view):
        buffer = ShardBuffer(index, number)
        buffer.rows[:] = rng.random(buffer.rows.shape, np.float32)
        made.append(buffer.store(store))
    whole = Index(index.dtype, index.leading, index.row, index.shard_rows, tuple(made))
    write_sharded(project / OUTPUT / "features", whole)
    (project / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"extract": STAGE}}))
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    params["resources"]["shards_url"] = str(place)
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    remote = str(project.parent / "remote")
    for words in (
        ["git", "init", "--quiet"],
        ["dvc", "init", "--quiet"],
        ["dvc", "remote", "add", "--quiet", "--default", "here", remote],
    ):
        subprocess.run([*words], cwd=project, check=True)


def forget(project: Path) -> None:
    """Delete what `dvc pull` then has to bring."""
    for folder in (project / OUTPUT, project / ".dvc/cache/files"):
        subprocess.run(["rm", "-rf", str(folder)], check=True)


def measure(project: Path, words: list[str]) -> dict[str, float]:
    """Run a command; its seconds, its processor time and the peak of its memory."""
    program = [sys.executable] if words[0] == "python" else [words[0]]
    started = time.perf_counter()
    process = subprocess.Popen(
        [*program, *words[1:]],
        cwd=project,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
    )
    peak, ended = 0, 0
    while not ended:
        peak = peak_of(process.pid) or peak
        time.sleep(0.02)
        ended, status, used = os.wait4(process.pid, os.WNOHANG)
    if status:
        sys.exit(f"{' '.join(words)} ended with {os.waitstatus_to_exitcode(status)}")
    return {
        "seconds": round(time.perf_counter() - started, 1),
        "processor s": round(used.ru_utime + used.ru_stime, 1),
        "MB": round(peak / 1e6),
    }


def peak_of(pid: int) -> int:
    """The peak so far of a process's resident memory, in bytes. That of `wait4` begins with the
    memory of whoever started it."""
    with suppress(OSError, StopIteration):
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024
    return 0


if __name__ == "__main__":
    main()
