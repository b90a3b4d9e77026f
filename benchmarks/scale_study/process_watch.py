"""Watches the processes of a stage and of a cluster on this machine: memory and processor time."""

import threading
from collections import defaultdict
from contextlib import suppress
from itertools import count

import psutil

from tests.helpers.local_cluster import Cluster

_SECONDS, _LOOKS = 0.02, 25  # between two looks at times; of these one is for new processes too


class ProcessWatch:
    """The peak of resident memory, in MB, of each stage's process and of each kind of process of
    the cluster (memory that processes share counts for each), and the processor time of each
    stage's process and of its workers.

    Looks for processes and their memory twice a second, and at the processor time of those that
    count 50 times a second: what a process does after the last look is not seen, and half a second
    of three processes is as much as `extract` spends on 50,000 images."""

    def __init__(self, nodes: Cluster):
        self._nodes, self._stage = nodes, ("", 0)
        self.peaks: dict[str, float] = defaultdict(float)
        self._own: dict[str, float] = {}
        self._workers: dict[int, tuple[str, float]] = {}  # by process ID; the stage, and seconds
        self._timed: dict[int, psutil.Process] = {}  # the stage's and the workers that are alive
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
        with suppress(psutil.Error):
            self._timed[pid] = psutil.Process(pid)

    def processor(self, stage: str) -> tuple[float, float]:
        """Seconds of processor time of a stage's own process, and of all its workers."""
        workers = sum(seconds for own, seconds in self._workers.values() if own == stage)
        return self._own.get(stage, 0.0), workers

    def _look(self) -> None:
        for number in count():
            if number % _LOOKS == 0:
                self._look_for_processes()
            self._look_at_times()
            if self._stop.wait(_SECONDS):
                return

    def _look_at_times(self) -> None:
        stage, pid = self._stage
        for process in [*self._timed.values()]:
            try:
                seconds = sum(process.cpu_times()[:2])
            except psutil.Error:  # it has ended
                self._timed.pop(process.pid, None)
                continue
            if process.pid == pid:
                self._own[stage] = seconds
            elif process.pid in self._workers:
                own, _ = self._workers[process.pid]
                self._workers[process.pid] = own, seconds

    def _look_for_processes(self) -> None:
        stage, pid = self._stage
        with suppress(psutil.Error):
            self._note(f"stage {stage}", psutil.Process(pid))
        for number, node in enumerate(list(self._nodes.nodes)):
            for process in node.processes():
                with suppress(psutil.Error):
                    where = f"node {number}" if number else "head"
                    kind = kind_of(process)
                    self._note(f"{where}: {kind}", process)
                    if kind == "worker":
                        self._workers.setdefault(process.pid, (stage, 0.0))
                        self._timed.setdefault(process.pid, process)

    def _note(self, name: str, process: psutil.Process) -> None:
        self.peaks[name] = max(self.peaks[name], process.memory_info().rss / 1e6)


def kind_of(process: psutil.Process) -> str:
    words = process.cmdline()
    if any("ray::Worker" in word for word in words):
        return "worker"
    return process.name() if process.name() in ("raylet", "gcs_server") else "other of Ray"
