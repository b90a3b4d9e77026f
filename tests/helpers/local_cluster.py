"""A real Ray cluster on this machine: a head and nodes, each with processes of its own, started by
`ray start` on loopback."""

import contextlib
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil

RAY = Path(sys.executable).with_name("ray")
HOST = "127.0.0.1"
MARK = "CLUSTER_NODE"
# Whoever reaches a cluster without a token runs what they like on it; and a token that lies in the
# person's home is not ours to use.
ADMITTED = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}


class Node:
    """All processes that one `ray start` has brought up, known by a variable that they inherit."""

    def __init__(self, mark: str):
        self._mark = mark

    def processes(self) -> list[psutil.Process]:
        return [
            process for process in psutil.process_iter() if _variable(process, MARK) == self._mark
        ]

    def workers(self) -> list[psutil.Process]:
        """Those that run our code."""
        return [
            process
            for process in self.processes()
            if any("ray::Worker" in word for word in _words(process))
        ]

    def kill(self) -> None:
        """As a power cut would: all at once, without a word."""
        processes = self.processes()
        for process in processes:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(processes, timeout=10)


class Cluster:
    def __init__(self, folder: str, cpus: int, path: str):
        self._path = path
        self.nodes: list[Node] = []
        self.address = f"{HOST}:{_free_port()}"
        ports = [
            "--port",
            self.address.rpartition(":")[2],
            "--ray-client-server-port",
            str(_free_port()),
        ]
        # The machine that runs the stage is a node of the cluster, with or without CPUs to work.
        self.head = self._start(
            "--head", *ports, "--include-dashboard=false", f"--temp-dir={folder}", cpus=cpus
        )

    def add(self, cpus: int = 1, **environment: str) -> Node:
        return self._start(f"--address={self.address}", cpus=cpus, **environment)

    def _start(self, *words: str, cpus: int, **environment: str) -> Node:
        mark = uuid.uuid4().hex
        command = [
            RAY,
            "start",
            *words,
            f"--num-cpus={cpus}",
            f"--node-ip-address={HOST}",
            "--object-store-memory=100000000",
        ]
        finished = subprocess.run(
            [*command, "--disable-usage-stats"],
            env=os.environ | {"PYTHONPATH": self._path, MARK: mark} | environment,
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
        )
        self.nodes.append(Node(mark))
        if finished.returncode:
            raise RuntimeError(finished.stdout + finished.stderr)
        return self.nodes[-1]


@contextlib.contextmanager
def cluster(cpus: int = 0, path: str = "") -> Iterator[Cluster]:
    """A head with so many CPUs; all that was started ends with the block, in which this process and
    those that it starts are admitted.

    Args:
        path: the nodes' PYTHONPATH. They start elsewhere, so that they know nothing of the project
            but what is on it.
    """
    before = {name: os.environ.get(name) for name in ADMITTED}
    os.environ.update(ADMITTED)
    # sockets lie there, whose paths may have a hundred characters
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as folder:
        made = Cluster(folder, cpus, path)
        try:
            yield made
        finally:
            for node in made.nodes:
                node.kill()
            for name, value in before.items():
                os.environ.pop(name)
                os.environ |= {name: value} if value is not None else {}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def _variable(process: psutil.Process, name: str) -> str | None:
    with contextlib.suppress(psutil.Error):
        return process.environ().get(name)
    return None


def _words(process: psutil.Process) -> list[str]:
    with contextlib.suppress(psutil.Error):
        return process.cmdline()
    return []
