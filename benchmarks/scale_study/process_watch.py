"""Watches the processes of a stage and of a cluster on this machine: memory and processor time."""

import threading
from collections import defaultdict
from contextlib import suppress

import psutil

from tests.helpers.local_cluster import Cluster


class ProcessWatch:
    """The peak of resident memory, in MB, of each stage's process and of each kind of process of
    the cluster (memory that processes share counts for each), and the processor time of each
    stage's process and of its workers. Looks twice a second."""

    def __init__(self, nodes: Cluster):
        self._nodes, self._stage = nodes, ("", 0)
        self.peaks: dict[str, float] = defaultdict(float)
        self._own: dict[str, float] = {}
        self._workers: dict[int, tuple[str, float]] = {}  # by process ID; the stage, and seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> "ProcessWatch":
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join()

    def follow(self, stage: str, pid: int) -> None:
        """Take this process for the stage's from now on."""
        self._stage = stage, pid

    def processor(self, stage: str) -> tuple[float, float]:
        """Seconds of processor time of a stage's own process, and of all its workers."""
        workers = sum(seconds for own, seconds in self._workers.values() if own == stage)
        return self._own.get(stage, 0.0), workers

    def _look(self) -> None:
        while not self._stop.wait(0.5):
            stage, pid = self._stage
            with suppress(psutil.Error):
                process = psutil.Process(pid)
                self._note(f"stage {stage}", process)
                self._own[stage] = sum(process.cpu_times()[:2])
            for number, node in enumerate(list(self._nodes.nodes)):
                for process in node.processes():
                    with suppress(psutil.Error):
                        where = f"node {number}" if number else "head"
                        kind = kind_of(process)
                        self._note(f"{where}: {kind}", process)
                        if kind == "worker":
                            own = self._workers.get(process.pid, (stage,))[0]
                            self._workers[process.pid] = own, sum(process.cpu_times()[:2])

    def _note(self, name: str, process: psutil.Process) -> None:
        self.peaks[name] = max(self.peaks[name], process.memory_info().rss / 1e6)


def kind_of(process: psutil.Process) -> str:
    words = process.cmdline()
    if any("ray::Worker" in word for word in words):
        return "worker"
    return process.name() if process.name() in ("raylet", "gcs_server") else "other of Ray"
