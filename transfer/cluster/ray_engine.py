"""The Ray engine: actors, one process each, on every node of a cluster.

Actors and not Ray Data, whose retries do not distinguish an image that ends its process from a node
that fails; docs/cluster.md compares both. Ray restarts nothing here: only this module knows which
batch was being processed, and how many processes an image has ended.
"""

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from transfer.cluster import worker
from transfer.cluster.batches import Batch, SlowBatches, Whole, new_batch
from transfer.cluster.connection import Cluster
from transfer.cluster.node_setup import check_versions, pack_package, passed_on_variables
from transfer.engines.base import BatchId, Crashed, Task
from transfer.runtime.errors import PipelineError
from transfer.runtime.pins import versions
from transfer.runtime.resource_params import ResourceParams

# batches per worker thread: the current one and the next, so that it does not wait
IN_FLIGHT = 2
# calls at once of a worker with a GPU: while one waits for the card, others send and fetch
GPU_CALLS = 4
POLL_SECONDS = 1.0  # between two polls of the cluster


@dataclass(eq=False)
class _Actor:
    handle: Any
    unpacked: Any  # Ray's reference to the end of `unpack`
    greeting: Any  # and to the answer of `handshake`
    node_id: str
    ready: bool = False
    under_way: dict[Any, Batch] = field(default_factory=dict)  # by Ray's reference to the results


class RayEngine:
    """packages: those that decide the bytes of the work, which must be the same on all nodes
    as here."""

    def __init__(self, params: ResourceParams, packages: Sequence[str]):
        self._params = params
        self._packages = list(packages)

    @property
    def cores(self) -> int:
        return self._params.worker_cpus

    @contextmanager
    def start(self, work: Task) -> Iterator["RayWorkerPool"]:
        """Start the workers, as `Engine` specifies.

        Raises:
            PipelineError: Ray is not installed; no cluster at the address; one of other versions;
                none with what the work needs.
        """
        cluster = Cluster(self._params)
        try:
            packages = [name for name in self._packages if name not in work.unused_packages]
            workers = cluster.call(RayWorkerPool, cluster, work, self._params, packages)
            workers.wait()
            yield workers
        finally:
            cluster.leave()


class RayWorkerPool:
    """As many actors as fit on all nodes; new nodes get actors, and ended actors are replaced."""

    def __init__(self, cluster: Cluster, work: Task, params: ResourceParams, packages: list[str]):
        self._packages = packages
        self._cluster, self._ray, self._params, self._work = cluster, cluster.ray, params, work
        self._actors: list[_Actor] = []
        self._excluded: dict[str, str] = {}  # nodes that no worker can start on, with the reason
        self._again: deque[Batch] = deque()
        self._finished: deque[Whole] = deque()
        self._slow = SlowBatches()
        self._looked = -POLL_SECONDS
        self._served = time.monotonic()
        self._needed = {"GPU": 1} if work.needs_gpu else {"CPU": params.worker_cpus}
        self._check_resources()
        self._payload = [
            self._ray.put(each)
            for each in (
                pack_package(),
                {file.as_posix(): file.read_bytes() for file in work.files},
            )
        ]
        self.about: Any = None

    def _check_resources(self) -> None:
        kind, needed = next(iter(self._needed.items()))
        nodes = self._cluster.nodes()
        if any(resources.get(kind, 0) >= needed for resources in nodes.values()):
            return
        has = (
            f"its {len(nodes)} nodes have "
            f"{', '.join(f'{resources.get(kind, 0):g}' for resources in nodes.values())}"
        )
        if kind == "GPU":
            raise PipelineError(
                f"compute.device = 'gpu': no node of the cluster at {self._cluster.address} has a "
                f"GPU ({has}); set auto or cpu"
            )
        raise PipelineError(
            f"resources.worker_cpus = {needed}: no node of the cluster at {self._cluster.address} "
            f"has so many CPUs ({has}); lower it"
        )

    def wait(self) -> None:
        """Wait until all workers that fit are up, or until `resources.timeout` is over and at least
        one is.

        Raises:
            PipelineError: none came up, or one that computes otherwise than this machine or the
                others.
        """
        deadline = time.monotonic() + self._params.timeout
        self._cluster.call(self._poll_cluster)
        while not self._is_served() or (
            not all(actor.ready for actor in self._actors) and time.monotonic() < deadline
        ):
            self._cluster.call(self._take_done, POLL_SECONDS)
            self._cluster.call(self._poll_cluster)
        ready = [actor for actor in self._actors if actor.ready]
        nodes = {actor.node_id for actor in ready}
        print(
            f"ray: {_count(len(ready), 'worker')} on {_count(len(nodes), 'node')} of "
            f"{self._cluster.address}"
        )

    def _is_served(self) -> bool:
        return any(actor.ready for actor in self._actors)

    def map(self, batches: Iterable[tuple[BatchId, list]]) -> Iterator[tuple[BatchId, Sequence]]:
        """Process batches in any order, as `WorkerPool` specifies."""
        waiting = iter(batches)
        exhausted = False
        while True:
            self._cluster.call(self._poll_cluster)
            while (self._again or not exhausted) and (actor := self._free()) is not None:
                batch = (
                    self._again.popleft()
                    if self._again
                    else next((new_batch(*each) for each in waiting), None)
                )
                exhausted = batch is None
                if batch is not None:
                    self._send(actor, batch)
            if exhausted and not self._again:
                if all(batch.is_done for batch in self._under_way()):
                    return
                self._send_copies()
            failure = None
            try:
                self._cluster.call(self._take_done, POLL_SECONDS)
            except Exception as error:
                failure = error
            while self._finished:  # before the failure is raised, so that the stage can keep them
                whole = self._finished.popleft()
                yield whole.tag, whole.results
            if failure is not None:
                raise failure

    def _send(self, actor: _Actor, batch: Batch) -> None:
        if not batch.holders:
            batch.sent = time.monotonic()
        batch.holders += 1
        reference = self._cluster.call(actor.handle.call.remote, batch.items)
        actor.under_way[reference] = batch

    def _under_way(self) -> Iterator[Batch]:
        return (batch for actor in self._actors for batch in actor.under_way.values())

    def _send_copies(self) -> None:
        """Send slow batches to idle workers too, once there is nothing else for them to do."""
        for actor in self._actors:
            if actor.ready and not actor.under_way:
                if (batch := self._slow.slowest(self._under_way())) is None:
                    return
                self._send(actor, batch)

    def _free(self) -> _Actor | None:
        """The worker with the fewest batches, if it can take another. A batch that ended a worker
        before goes to an idle one, alone."""
        ready = [
            actor
            for actor in self._actors
            if actor.ready and not any(batch.attempts for batch in actor.under_way.values())
        ]
        least = min(ready, key=lambda actor: len(actor.under_way), default=None)
        most = 1 if self._again else self._in_flight
        return least if least is not None and len(least.under_way) < most else None

    @property
    def _threads(self) -> int:
        if self._work.overlaps:
            return IN_FLIGHT
        return GPU_CALLS if self._work.needs_gpu else self._params.worker_cpus

    @property
    def _in_flight(self) -> int:
        """How many batches a worker has at most. If calls overlap, none waits at the worker."""
        return self._threads if self._work.overlaps else IN_FLIGHT * self._threads

    def _take_done(self, timeout: float) -> None:
        """Wait for results; the stage's batches that they complete are added to `_finished`."""
        owners = {reference: actor for actor in self._actors for reference in actor.under_way}
        owners |= {actor.greeting: actor for actor in self._actors if not actor.ready}
        if not owners:
            time.sleep(timeout)
            return
        done, others = self._ray.wait(list(owners), num_returns=1, timeout=timeout)
        if done and others:  # all that are ready, since a call costs more than a result
            done += self._ray.wait(others, num_returns=len(others), timeout=0)[0]
        for reference in done:
            actor = owners[reference]
            if actor not in self._actors:
                continue  # lost a moment ago, with all that it had
            try:
                answer = self._ray.get(reference)
            except self._ray.exceptions.RayError:
                self._exclude_full_disk(actor)
                self._handle_loss(actor)
            else:
                self._served = time.monotonic()
                if reference == actor.greeting:
                    self._register_actor(actor, answer)
                else:
                    self._receive(actor.under_way.pop(reference), answer)

    def _exclude_full_disk(self, actor: _Actor) -> None:
        """If a worker did not start because its node's disk is full or cannot be written, print
        that and start no others there: the rest of the cluster can go on."""
        if actor.ready or actor.node_id in self._excluded:
            return
        try:
            self._ray.get(actor.unpacked, timeout=0)
        except self._ray.exceptions.RayTaskError as failed:
            if isinstance(failed.cause, OSError):
                reason = f"{self._cluster.host(actor.node_id)}: {failed.cause}"
                self._excluded[actor.node_id] = reason
                print(f"ray: no worker can start on {reason}; that node is left out", flush=True)
        except self._ray.exceptions.RayError:  # the worker has ended, whatever the cause
            return

    def _register_actor(self, actor: _Actor, said: dict) -> None:
        """Accept a worker if it computes as this machine and the other workers do."""
        check_versions(said["host"], said["versions"], versions(self._packages))
        if "error" in said:
            raise said["error"]
        if self.about is not None and said["about"] != self.about:
            raise PipelineError(
                f"{said['host']} computes other bits than the workers before it, although its "
                "packages are the same: another processor, or another setting of the libraries; "
                "take it out of the cluster, or use nodes of one kind"
            )
        self.about = said["about"]
        actor.ready = True

    def _receive(self, batch: Batch, answer: tuple[bool, Any]) -> None:
        batch.holders -= 1
        if batch.is_done:  # a copy was faster
            return
        went_well, results = answer
        if not went_well:
            raise results
        self._slow.note(batch)
        self._fill(batch, results)

    def _fill(self, batch: Batch, results: Sequence) -> None:
        batch.fill(results)
        if not batch.whole.open:
            self._finished.append(batch.whole)

    def _handle_loss(self, actor: _Actor) -> None:
        """Handle the end of a process or of its node; any image that it had may be the cause.

        Its batches are processed again, each alone on a worker; if that worker ends too, each image
        of the batch alone. So no image is rejected because of another image or of its node.
        """
        self._actors.remove(actor)
        if self._cluster.nodes():  # its process may live on, out of reach
            self._ray.kill(actor.handle)
        for batch in actor.under_way.values():
            batch.holders -= 1
            if batch.is_done or batch.holders:  # another worker was faster, or still computes it
                continue
            attempts = batch.attempts + 1
            is_alone = batch.attempts > 0 and len(batch.items) == 1
            if (
                is_alone
                and attempts > self._params.retries
                and self._cluster.nodes()
                and self._cluster.answers(actor.node_id)
            ):
                self._fill(batch, [Crashed(attempts)])
            elif batch.attempts:
                each = zip(batch.items, batch.places, strict=True)
                self._again.extend(
                    Batch([item], [place], batch.whole, attempts) for item, place in each
                )
            else:
                self._again.append(replace(batch, attempts=attempts))

    def _poll_cluster(self) -> None:
        """Check the cluster from time to time: start workers where there is room, and stop if no
        cluster is left.

        Raises:
            PipelineError: for `resources.timeout` no worker was up, or the head is gone.
        """
        if time.monotonic() - self._looked < POLL_SECONDS:
            return
        self._looked = time.monotonic()
        kind, needed = next(iter(self._needed.items()))
        rooms = {
            node_id: int(resources.get(kind, 0) // needed)
            for node_id, resources in self._cluster.nodes().items()
            if node_id not in self._excluded
        }
        for node_id, room in rooms.items():
            here = sum(actor.node_id == node_id for actor in self._actors)
            self._actors += [self._start_actor(node_id) for _ in range(here, room)]
        if self._is_served():
            self._served = time.monotonic()
        elif time.monotonic() - self._served > self._params.timeout:
            raise PipelineError(
                self._unserved(
                    sum(room for node_id, room in rooms.items() if self._cluster.answers(node_id))
                )
            )

    def _unserved(self, room: int) -> str:
        where = (
            f"on the cluster at {self._cluster.address} for resources.timeout = "
            f"{self._params.timeout:g} s"
        )
        if not room:
            left_out = "".join(f" ({reason})" for reason in self._excluded.values())
            return (
                f"no node was left to work {where}{left_out}; what was computed is kept: start "
                "nodes and run `dvc repro`"
            )
        return (
            f"no worker came up {where}, though there is room for {room}: other jobs may hold it "
            "(see `ray status`), or workers end as they begin (their logs are "
            "in /tmp/ray/session_latest/logs on their node); fix that, or raise resources.timeout"
        )

    def _start_actor(self, node_id: str) -> _Actor:
        strategy = self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            node_id, soft=False
        )
        kind = self._ray.remote(
            num_cpus=self._needed.get("CPU", 0),
            num_gpus=self._needed.get("GPU", 0),
            max_restarts=0,
            max_concurrency=self._threads,
        )(worker.Worker)
        handle = kind.options(scheduling_strategy=strategy).remote()
        unpacked = handle.unpack.remote(*self._payload, passed_on_variables())
        greeting = handle.handshake.remote(unpacked, self._work, self._packages)
        return _Actor(handle, unpacked, greeting, node_id)


def _count(n: int, name: str) -> str:
    return f"{n} {name}" if n == 1 else f"{n} {name}s"
