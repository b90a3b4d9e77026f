"""A map on a cluster, to be watched and disturbed:
`counting.main(ADDRESS, ITEMS, TIMEOUT, DEADLY, ...)` doubles 0, 1, 2, ...

On a node whose environment has COUNTING_SECONDS, a batch takes so much longer. Prints one line
per batch when it is done, `done ITEM:RESULT ...`, or the error.
"""

import os
import signal
import sys
import time

from transfer.cluster.ray_engine import RayEngine
from transfer.engines.base import batches_of
from transfer.runtime.errors import PipelineError
from transfer.runtime.resource_params import ResourceParams

BATCH = 3


class Doubling:
    files = ()
    needs_gpu = False
    unused_packages = ()
    overlaps = False

    def __init__(self, deadly: set[int]):
        self.deadly = deadly

    def start(self) -> "Double":
        return Double(self.deadly)


class Double:
    uses_all_cores = False
    about = "doubles"

    def __init__(self, deadly: set[int]):
        self._deadly = deadly

    def __call__(self, items: list[int]) -> list[str]:
        if self._deadly & {*items}:
            os.kill(os.getpid(), signal.SIGSEGV)
        time.sleep(0.02 * len(items) + float(os.environ.get("COUNTING_SECONDS", "0")))
        return [f"{2 * item}" for item in items]


def main(address: str, items: str, timeout: str, *deadly: str) -> None:
    params = ResourceParams(engine="ray", address=address, timeout=float(timeout))
    try:
        with RayEngine(params, ["numpy"]).start(Doubling({*map(int, deadly)})) as workers:
            for batch, results in workers.map(
                (batch, batch) for batch in batches_of(range(int(items)), BATCH)
            ):
                print(
                    "done",
                    *(f"{item}:{result}" for item, result in zip(batch, results, strict=True)),
                    flush=True,
                )
    except PipelineError as error:
        sys.exit(f"counting: {error}")
