"""How much faster are two nodes than one, and does the simulation foresee it? `make scale`.

Starts real Ray clusters on this machine, a head that does no work and nodes of one CPU each, and
sends made-up images through VGG16's frozen layers as `extract` does: on one node, on two, and on
two of which one is killed on the way. Nothing is written to the store of rows. The simulation
(benchmarks/scale_study/simulated_map.py) is given what was measured of the parts, the seconds of a
batch on a worker and on the driver, and its prediction of the whole is printed beside what the
clock said.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from benchmarks.scale_study.simulated_map import Costs, Trouble, simulate
from tests.helpers.local_cluster import Cluster, cluster

ROOT = Path(__file__).parents[2]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scale_study.two_nodes", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--images", type=int, default=1500)
    parser.add_argument("--rounds", type=int, default=3, help="of one and of two nodes, in turns")
    arguments = parser.parse_args()
    with TemporaryDirectory() as folder:
        write_network(Path(folder))
        report(*measure(Path(folder), arguments.images, arguments.rounds))


def write_network(folder: Path) -> None:
    """The converted VGG16 with random weights, which take as long as others."""
    (folder / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    code = (
        "from transfer.backbones.network import build_backbone; from transfer.backbones.registry "
        "import WEIGHTS; import keras; "
        "keras.utils.set_random_seed(0); WEIGHTS.parent.mkdir(parents=True); "
        "build_backbone('VGG16', 64).save_weights(WEIGHTS); from stages.convert import main; main()"
    )
    subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
    )


def measure(folder: Path, images: int, rounds: int) -> tuple[list[dict], list[dict], dict]:
    """What each run on one node, on two, and the one that loses a node said."""
    with cluster(path=str(ROOT)) as one, cluster(path=str(ROOT)) as two:
        one.add()
        two.add()
        lost = two.add()
        alone, both = [], []
        for number in range(rounds):
            alone.append(run(folder, one, images))
            both.append(run(folder, two, images))
            print(
                f"round {number + 1}: {alone[-1]['images/s']:.1f} and {both[-1]['images/s']:.1f} "
                "images/s",
                flush=True,
            )
        killed = run(folder, two, images, lambda: lost.kill(), after=both[-1]["seconds"] / 3)
    return alone, both, killed


def run(folder: Path, nodes: Cluster, images: int, disturb=None, after: float = 0) -> dict:
    """A driver in a process of its own, as a stage is; disturbed so many seconds after its first
    batch was sent."""
    words = [
        sys.executable,
        "-c",
        "import sys; from benchmarks.scale_study.driver import drive; drive(*sys.argv[1:])",
        nodes.address,
        str(images),
    ]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    with subprocess.Popen(
        words,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as driver:
        disturbed = None
        for line in driver.stdout:
            if line.startswith("begins") and disturb is not None:
                time.sleep(after)
                disturb()
                disturbed = after
            if line.startswith("{"):
                said = json.loads(line)
        error = driver.stderr.read()
    if driver.returncode:
        sys.exit(f"the driver ended with {driver.returncode}: {error[-2000:]}")
    return said | {"disturbed": disturbed}


def report(alone: list[dict], both: list[dict], killed: dict) -> None:
    """The table: measured, and predicted from the parts."""
    batches = len(alone[0]["compute"])
    rows = []
    for number, (one, two) in enumerate(zip(alone, both, strict=True), 1):
        for name, nodes, run_ in (("one node", 1, one), ("two nodes", 2, two)):
            rows.append(
                (number, name, run_["seconds"], simulate(batches, nodes, 1, costs_of(run_)))
            )
        rows.append(
            (
                number,
                "two nodes, from the parts of one",
                two["seconds"],
                simulate(batches, 2, 1, costs_of(one)),
            )
        )
    trouble = Trouble(losses=[(killed["disturbed"], 1)], is_replaced=False)
    last = len(both)
    rows.append(
        (
            last,
            "two nodes, one killed",
            killed["seconds"],
            simulate(batches, 2, 1, costs_of(both[-1]), trouble),
        )
    )
    table = pd.DataFrame(rows, columns=["round", "run", "measured s", "predicted s"])
    table["predicted / measured"] = table["predicted s"] / table["measured s"]
    print(table.round(2).to_string(index=False))
    ratios = [two["images/s"] / one["images/s"] for one, two in zip(alone, both, strict=True)]
    print(
        f"two nodes / one: {np.median(ratios):.2f} "
        f"({', '.join(f'{ratio:.2f}' for ratio in ratios)})"
    )
    parts = [(1000 * np.mean(each["compute"]), 1000 * each["driver"]) for each in (*alone, *both)]
    print(
        "ms a batch of 12, worker and driver: "
        + ", ".join(f"{worker:.0f} and {driver:.1f}" for worker, driver in parts)
    )


def costs_of(measured: dict) -> Costs:
    return Costs(measured["compute"], measured["driver"])


if __name__ == "__main__":
    main()
