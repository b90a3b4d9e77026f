"""A discrete simulation of the map over a cluster: one driver that sends batches and takes results, and workers that compute them.

What it leaves out: time to start, the network's limits, and memory. docs/scale.md says what was made of it.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import simpy


@dataclass(frozen=True)
class Costs:
    """Seconds.

    compute: of a batch on a worker, as measured, each as likely as the others. driver: of a batch on the driver, sent and taken.
    detect: from a node's end until the driver knows. restart: from then until another worker is ready on a node that came instead.
    """

    compute: Sequence[float]
    driver: float
    detect: float = 1.0
    restart: float = 10.0


@dataclass(frozen=True)
class Trouble:
    """slow_share of all batches take slow_factor times as long. losses: seconds and the node that ends then, for good or replaced."""

    slow_share: float = 0.0
    slow_factor: float = 1.0
    losses: Sequence[tuple[float, int]] = ()
    is_replaced: bool = True


@dataclass
class _Worker:
    node: int
    in_flight: int
    inbox: simpy.Store
    under_way: list[int] = field(default_factory=list)  # attempts of each batch that it has, the first computed
    process: simpy.Process | None = None
    is_up: bool = True


def simulate(
    batches: int, nodes: int, workers_a_node: int, costs: Costs, trouble: Trouble = Trouble(), in_flight: int = 2, seed: int = 0
) -> float:
    """Seconds until all batches are done. The rules are those of transfer/engines/ray_engine.py."""
    run = _Run(batches, costs, trouble, in_flight, np.random.default_rng(seed))
    for node in range(nodes):
        for _ in range(workers_a_node):
            run.hire(node)
    for at, node in trouble.losses:
        run.environment.process(run.lose(at, node, workers_a_node))
    driver = run.environment.process(run.drive())
    run.environment.run(until=driver)
    return run.environment.now


class _Run:
    def __init__(self, batches: int, costs: Costs, trouble: Trouble, in_flight: int, rng: np.random.Generator):
        self.environment = simpy.Environment()
        self._left, self._again, self._open = batches, deque(), batches
        self._costs, self._trouble, self._in_flight = costs, trouble, in_flight
        self._times = iter(_draws(rng, costs.compute, trouble))
        self._workers: list[_Worker] = []
        self._done = simpy.Store(self.environment)
        self._changed = self.environment.event()

    def hire(self, node: int) -> None:
        worker = _Worker(node, self._in_flight, simpy.Store(self.environment))
        worker.process = self.environment.process(self._work(worker))
        self._workers.append(worker)

    def _work(self, worker: _Worker):
        while True:
            attempts = yield worker.inbox.get()
            yield self.environment.timeout(next(self._times))
            if not worker.is_up:
                return
            self._done.put((worker, attempts))

    def drive(self):
        """The loop of RayWorkers.map: send while somebody is free, then take what is done."""
        while self._open:
            while (worker := self._free()) is not None:
                yield self.environment.timeout(self._costs.driver / 2)
                attempts = self._again.popleft() if self._again else self._draw()
                worker.under_way.append(attempts)
                worker.inbox.put(attempts)
            worker, attempts = yield self._done.get()
            if worker is None:
                continue  # the cluster has changed
            yield self.environment.timeout(self._costs.driver / 2)
            if attempts in worker.under_way:
                worker.under_way.remove(attempts)
                self._open -= 1

    def _draw(self) -> int:
        self._left -= 1
        return 0

    def _free(self) -> _Worker | None:
        if not self._again and not self._left:
            return None
        ready = [worker for worker in self._workers if not any(worker.under_way)]
        least = min(ready, key=lambda worker: len(worker.under_way), default=None)
        return least if least is not None and len(least.under_way) < (1 if self._again else least.in_flight) else None

    def lose(self, at: float, node: int, workers: int):
        yield self.environment.timeout(at)
        lost = [worker for worker in self._workers if worker.node == node]
        for worker in lost:
            worker.is_up = False
        yield self.environment.timeout(self._costs.detect)
        for worker in lost:
            self._workers.remove(worker)
            self._again.extend(attempts + 1 for attempts in worker.under_way)
            worker.under_way.clear()
        self._done.put((None, 0))
        if self._trouble.is_replaced:
            yield self.environment.timeout(self._costs.restart)
            for _ in range(workers):
                self.hire(node)
            self._done.put((None, 0))


def _draws(rng: np.random.Generator, compute: Sequence[float], trouble: Trouble):
    while True:
        times = rng.choice(np.asarray(compute), 1000)
        times[rng.random(1000) < trouble.slow_share] *= trouble.slow_factor
        yield from times.tolist()
