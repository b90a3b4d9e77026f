"""The tables of docs/scale.md about workers, stragglers and lost nodes, from the simulated map.

    python -m benchmarks.scale_study.simulation
    python -m benchmarks.scale_study.simulation --worker-ms 300 --driver-ms 9 --driver-ms-a-worker 0

Without arguments it takes the costs that docs/scale.md gives. The same call prints the same text,
in half a minute.
"""

import argparse
from dataclasses import replace

import numpy as np
import pandas as pd

from benchmarks.scale_study.simulated_map import BATCH, Costs, Trouble, play, simulate

SHARD = 1024  # images


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scale_study.simulation", description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        "--worker-ms", type=float, default=240, help="of a batch of 12 images on a core"
    )
    parser.add_argument(
        "--driver-ms", type=float, default=10, help="of a batch of 12 images on the driver"
    )
    parser.add_argument(
        "--driver-ms-a-worker",
        type=float,
        default=0.004,
        help="what each worker of the cluster adds to that",
    )
    parser.add_argument(
        "--shard-driver-ms",
        type=float,
        default=1,
        help="where a worker does and writes a shard, and sends its checksum",
    )
    arguments = parser.parse_args()
    seconds = arguments.worker_ms / 1000
    by_batch = Costs(
        _spread(seconds),
        arguments.driver_ms / 1000,
        driver_a_worker=arguments.driver_ms_a_worker / 1000,
    )
    by_shard = Costs(
        _spread(seconds * SHARD / BATCH), arguments.shard_driver_ms / 1000, detect=30, restart=120
    )
    for title, table in (
        (
            f"Workers: batches of {BATCH} through the driver, and shards of {SHARD} that workers "
            "write",
            workers_table(by_batch, by_shard),
        ),
        (
            "Stragglers: seconds, of what the same work takes without any",
            stragglers_table(by_batch, by_shard),
        ),
        (
            "Lost nodes: 64 nodes of 4 workers, 50,000 shards, mean of 3 seeds",
            losses_table(by_shard),
        ),
    ):
        print(f"{title}\n{table.to_string(index=False)}\n")


def _spread(seconds: float) -> list[float]:
    return [0.9 * seconds, seconds, 1.1 * seconds]


def workers_table(by_batch: Costs, by_shard: Costs) -> pd.DataFrame:
    """Images a second, the share of what so many workers alone would do,
    and how busy the driver is."""
    rows = []
    for workers in (2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096):
        row = {"workers": workers}
        for name, costs, images, each in (
            ("batch", by_batch, BATCH, 24),
            ("shard", by_shard, SHARD, 24),
        ):
            batches = max(1000, each * workers)
            outcome = play(batches, workers, 1, costs)
            alone = batches * np.mean(costs.compute) / workers
            row |= {
                f"{name}: images/s": round(batches * images / outcome.seconds),
                f"{name}: efficiency": round(alone / outcome.seconds, 2),
                f"{name}: driver busy": round(outcome.busy / outcome.seconds, 2),
            }
        rows.append(row)
    return pd.DataFrame(rows)


def stragglers_table(by_batch: Costs, by_shard: Costs) -> pd.DataFrame:
    """What slow batches and slow workers cost, with and without second copies at the end."""
    rows = []
    kinds = [(name, factor) for name in ("slow_share", "slow_workers") for factor in (5, 20)]
    for workers, name, costs, each in ((16, "batch", by_batch, 250), (1024, "shard", by_shard, 24)):
        even = simulate(each * workers, workers, 1, costs)
        for kind, factor in kinds:
            share = 0.01 if kind == "slow_share" else max(0.01, 1 / workers)
            trouble = Trouble(**{kind: share}, slow_factor=factor)
            plain, copied = (
                play(each * workers, workers, 1, costs, replace(trouble, copies=copies))
                for copies in (False, True)
            )
            mean = (
                1 + share * (factor - 1)
                if kind == "slow_share"
                else 1 / (1 - share + share / factor)
            )
            rows.append(
                {
                    "workers": workers,
                    "sent": name,
                    "slow": (
                        f"{share:.1%} of {'batches' if kind == 'slow_share' else 'workers'}, "
                        f"{factor} times"
                    ),
                    "from the mean": round(mean, 3),
                    "without copies": round(plain.seconds / even, 3),
                    "simulated": round(copied.seconds / even, 3),
                    "copies": copied.begun - plain.begun,
                }
            )
    return pd.DataFrame(rows)


def losses_table(costs: Costs) -> pd.DataFrame:
    """What lost nodes cost, replaced or not."""
    nodes, workers, shards, seeds = 64, 4, 50_000, 3
    even = simulate(shards, nodes, workers, costs)
    rows = []
    for rate, is_replaced in ((0.01, True), (0.01, False), (0.1, True), (0.1, False), (1.0, True)):
        lost, done = [], []
        for seed in range(seeds):
            losses = draw_losses(nodes, rate, 4 * even, seed)
            done.append(
                play(
                    shards,
                    nodes,
                    workers,
                    costs,
                    Trouble(losses=losses, is_replaced=is_replaced),
                    seed=seed,
                )
            )
            ended = [node for at, node in losses if at < done[-1].seconds]
            lost.append(len(ended) if is_replaced else len(set(ended)))
        rows.append(
            {
                "lost a node-hour": rate,
                "replaced": is_replaced,
                "nodes lost": round(np.mean(lost), 1),
                "time": round(np.mean([outcome.seconds for outcome in done]) / even, 3),
                "begun again": round(np.mean([outcome.begun for outcome in done]) - shards, 1),
            }
        )
    return pd.DataFrame(rows)


def draw_losses(nodes: int, rate: float, until: float, seed: int) -> list[tuple[float, int]]:
    """When nodes end that do so `rate` times an hour each, each apart from the others: seconds up
    to `until`, and the node."""
    rng = np.random.default_rng([seed, 1])
    number = rng.poisson(nodes * rate * until / 3600)
    return sorted(
        zip(
            rng.uniform(0, until, number).tolist(),
            rng.integers(0, nodes, number).tolist(),
            strict=True,
        )
    )


if __name__ == "__main__":
    main()
