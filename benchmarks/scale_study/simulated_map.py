"""A discrete simulation of the map over a cluster: one driver that sends batches and takes results,
and workers that compute them.

The rules are those of transfer/cluster: a batch goes to the worker that has least, while that has
fewer than two; what was lost goes before all else, to an idle worker and alone; what is lost again
goes image by image; once all is sent, slow batches are copied. A worker of several threads counts
as several. Left out: the time to start, the network, memory, and images that end their worker.
"""

import heapq
import statistics
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import count

import numpy as np
import simpy

from transfer.cluster.batches import RECENT, SLOW_FACTOR, SLOW_SECONDS

IN_FLIGHT = 2  # of the engine
BATCH = 12  # images
POLL = 1.0  # seconds between two looks of the engine while no result comes


@dataclass(frozen=True)
class Costs:
    """Seconds.

    compute: of a batch on a worker, as measured, each as likely as the others. driver: of a batch
    on the driver, sent and taken, half and half; driver_a_worker: what each worker of the cluster
    adds to that. detect: from a node's end until the driver knows.
    restart: from then until workers are ready on a node that came instead.
    """

    compute: Sequence[float]
    driver: float
    detect: float = 1.0
    restart: float = 10.0
    driver_a_worker: float = 0.0


@dataclass(frozen=True)
class Trouble:
    """What goes wrong.

    slow_share of all batches, by chance, and slow_workers, the share of workers that always do (the
    first ones), take slow_factor times as long. losses: seconds, and the node that ends then, for
    good or replaced. copies: whether slow batches are copied, as the engine does.
    """

    slow_share: float = 0.0
    slow_factor: float = 1.0
    losses: Sequence[tuple[float, int]] = ()
    is_replaced: bool = True
    slow_workers: float = 0.0
    copies: bool = True


@dataclass(frozen=True)
class Outcome:
    """seconds: until all is done. busy: of these the driver's. results: how often each batch was
    counted as done. begun: batches, and single images of batches that were lost twice, that workers
    began."""

    seconds: float
    busy: float
    results: list[int]
    begun: int


@dataclass(eq=False)
class _Batch:
    """images: of `share` of them this is made."""

    number: int
    share: float = 1.0
    attempts: int = 0
    twins: int = 1
    is_done: bool = False
    sent: float = 0.0


@dataclass(eq=False)
class _Worker:
    number: int
    node: int
    factor: float
    waiting: deque = field(default_factory=deque)
    under_way: dict = field(default_factory=dict)  # _Batch -> None, in the order sent
    again: int = 0  # how many of these were lost before
    is_up: bool = True
    is_known: bool = True  # the driver does not know yet that it has ended


def simulate(*arguments, **options) -> float:
    """Seconds until all batches are done; the arguments are those of `play`."""
    return play(*arguments, **options).seconds


def play(
    batches: int,
    nodes: int,
    workers_a_node: int,
    costs: Costs,
    trouble: Trouble = Trouble(),
    in_flight: int = IN_FLIGHT,
    seed: int = 0,
    images: int = BATCH,
) -> Outcome:
    """Send so many batches of so many images through the cluster.

    Raises:
        RuntimeError: no worker is left, and none will come.
    """
    run = _Run(batches, nodes * workers_a_node, costs, trouble, in_flight, images, seed)
    for node in range(nodes):
        run.hire(node, workers_a_node)
    for at, node in trouble.losses:
        run.environment.process(run.lose(at, node))
    return run.play()


class _Run:
    def __init__(
        self,
        batches: int,
        workers: int,
        costs: Costs,
        trouble: Trouble,
        in_flight: int,
        images: int,
        seed: int,
    ):
        self.environment = simpy.Environment()
        self._costs, self._trouble, self._in_flight, self._images = (
            costs,
            trouble,
            in_flight,
            images,
        )
        self._left = iter(range(batches))
        self._again: deque[_Batch] = deque()
        self._open = np.full(batches, images).tolist()
        self._results = [0] * batches
        self._n_open = batches
        self._times = _draws(np.random.default_rng(seed), costs.compute, trouble)
        self._slow = round(trouble.slow_workers * workers)
        self._numbers = count()
        self._workers: dict[int, list[_Worker]] = {}  # by node
        self._n_workers = 0
        # a heap of what workers had; those that have something else are passed over
        self._least: list[tuple[int, int, _Worker]] = []
        self._under_way: dict[_Batch, None] = {}  # in the order sent, kept where copies are made
        self._done: deque[tuple[_Worker, _Batch]] = deque()
        self._idle: simpy.Event | None = None
        self._recent: deque[float] = deque(maxlen=RECENT)  # seconds of batches, from when sent
        self._all_sent = False
        self._busy, self._begun = 0.0, 0

    def play(self) -> Outcome:
        driver = self.environment.process(self._drive())
        try:
            self.environment.run(until=driver)
        except RuntimeError:  # simpy's, that no event is left
            raise RuntimeError(
                f"no worker is left, and {self._n_open} batches are not done"
            ) from None
        return Outcome(self.environment.now, self._busy, self._results, self._begun)

    def hire(self, node: int, workers: int) -> None:
        for _ in range(workers):
            number = next(self._numbers)
            worker = _Worker(
                number, node, self._trouble.slow_factor if number < self._slow else 1.0
            )
            self._workers.setdefault(node, []).append(worker)
            self._n_workers += 1
            self._rank(worker)

    def _drive(self) -> Iterator[simpy.Event]:
        """The loop of RayWorkerPool.map: send while a worker is free, then take a done batch."""
        while self._n_open:
            while (worker := self._free()) is not None:
                if (batch := self._next(worker)) is None:
                    break
                yield self._works()
                self._send(worker, batch)
            if not self._done:
                self._idle = self.environment.event()
                is_polling = self._trouble.copies and self._all_sent and self._under_way
                yield self._idle | self.environment.timeout(POLL) if is_polling else self._idle
                self._idle = None
                if not self._done:
                    continue  # the cluster has changed
            worker, batch = self._done.popleft()
            yield self._works()
            self._take(worker, batch)

    def _works(self) -> simpy.Event:
        seconds = (self._costs.driver + self._costs.driver_a_worker * self._n_workers) / 2
        self._busy += seconds
        return self.environment.timeout(seconds)

    def _free(self) -> _Worker | None:
        """The worker that has least, the first of those, if it may have more."""
        while self._least:
            load, _, worker = self._least[0]
            if not worker.is_known or worker.again or load != len(worker.under_way):
                heapq.heappop(self._least)
                continue
            return worker if load < (1 if self._again else self._in_flight) else None
        return None

    def _rank(self, worker: _Worker) -> None:
        if len(worker.under_way) < self._in_flight:
            heapq.heappush(self._least, (len(worker.under_way), worker.number, worker))

    def _next(self, worker: _Worker) -> _Batch | None:
        if self._again:
            return self._again.popleft()
        number = next(self._left, None)
        if number is not None:
            return _Batch(number)
        self._all_sent = True
        return self._copy(worker) if self._trouble.copies and not worker.under_way else None

    def _copy(self, worker: _Worker) -> _Batch | None:
        single = (each for each in self._under_way if each.twins == 1 and not each.attempts)
        batch = next(single, None)
        if batch is None or not self._recent:
            return None
        limit = max(SLOW_SECONDS, SLOW_FACTOR * statistics.median(self._recent))
        if self.environment.now - batch.sent <= limit:
            return None
        batch.twins += 1
        return batch

    def _send(self, worker: _Worker, batch: _Batch) -> None:
        if not worker.is_known:
            self._handle_loss(batch)  # the end of its node became known just now
            return
        worker.under_way[batch] = None
        worker.again += batch.attempts > 0
        self._rank(worker)
        if self._trouble.copies and batch not in self._under_way:
            batch.sent = self.environment.now
            self._under_way[batch] = None
        worker.waiting.append(batch)
        if len(worker.waiting) == 1 and worker.is_up:
            self._begin(worker)

    def _begin(self, worker: _Worker) -> None:
        self._begun += 1
        seconds = next(self._times) * worker.factor * worker.waiting[0].share
        self.environment.timeout(seconds).callbacks.append(lambda _: self._end(worker))

    def _end(self, worker: _Worker) -> None:
        if not worker.is_up:
            return
        self._done.append((worker, worker.waiting.popleft()))
        self._wake()
        if worker.waiting:
            self._begin(worker)

    def _wake(self) -> None:
        if self._idle is not None and not self._idle.triggered:
            self._idle.succeed()

    def _take(self, worker: _Worker, batch: _Batch) -> None:
        if batch not in worker.under_way:
            return  # its node's end is known by now
        del worker.under_way[batch]
        worker.again -= batch.attempts > 0
        self._rank(worker)
        self._under_way.pop(batch, None)
        if batch.is_done:
            return  # the other copy was first
        batch.is_done = True
        self._recent.append(self.environment.now - batch.sent)
        self._open[batch.number] -= round(batch.share * self._images)
        if not self._open[batch.number]:
            self._results[batch.number] += 1
            self._n_open -= 1

    def lose(self, at: float, node: int) -> Iterator[simpy.Event]:
        yield self.environment.timeout(at)
        lost = [worker for worker in self._workers.get(node, []) if worker.is_up]
        for worker in lost:
            worker.is_up = False
        yield self.environment.timeout(self._costs.detect)
        for worker in lost:
            self._forget(worker)
        self._wake()
        if lost and self._trouble.is_replaced:
            yield self.environment.timeout(self._costs.restart)
            self.hire(node, len(lost))
            self._wake()

    def _forget(self, worker: _Worker) -> None:
        worker.is_known = False
        self._workers[worker.node].remove(worker)
        self._n_workers -= 1
        for batch in worker.under_way:
            self._handle_loss(batch)
        worker.under_way.clear()

    def _handle_loss(self, batch: _Batch) -> None:
        """The batch again, and where it was lost before each of its images."""
        batch.twins -= 1
        if batch.is_done or batch.twins:
            return  # the other copy lives, or was done
        self._under_way.pop(batch, None)
        again = replace(batch, attempts=batch.attempts + 1, twins=1)
        if batch.attempts and batch.share == 1:
            self._again.extend(replace(again, share=1 / self._images) for _ in range(self._images))
        else:
            self._again.append(again)


def _draws(rng: np.random.Generator, compute: Sequence[float], trouble: Trouble) -> Iterator[float]:
    while True:
        times = rng.choice(np.asarray(compute, float), 1000)
        times[rng.random(1000) < trouble.slow_share] *= trouble.slow_factor
        yield from times.tolist()
