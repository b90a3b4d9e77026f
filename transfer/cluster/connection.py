"""Connects to a Ray cluster, tracks its nodes, and explains connection failures."""

import atexit
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any, NoReturn, TypeVar

import psutil

from transfer.cluster import worker
from transfer.runtime.errors import PipelineError
from transfer.runtime.resource_params import ResourceParams

T = TypeVar("T")

HEAD_TIMEOUT = 5.0  # seconds; a head that is gone for longer does not return with the same workers
GRACE = 2.0  # seconds in which a head that is ending is still taken for the cause of an error


class Cluster:
    """The connection to the cluster: its nodes, and whether the head node still answers."""

    def __init__(self, params: ResourceParams):
        self.ray = _import_ray()
        given = params.address or os.environ.get("RAY_ADDRESS") or "auto"
        if ":" in given:
            _check_answers(given)
            _check_is_node(given)
        try:
            # Without this, Ray's node messages would break the stage's progress output.
            self.ray.init(
                address=given, log_to_driver=False, logging_level="CRITICAL", configure_logging=True
            )
        except ConnectionError:
            raise PipelineError(_refused(given)) from None
        except self.ray.exceptions.AuthenticationError as error:
            raise PipelineError(f"resources.address = {given!r}: {error}") from None
        except (RuntimeError, ValueError, AssertionError) as error:
            raise PipelineError(f"the Ray cluster at {given} cannot be joined: {error}") from None
        self.watch(given if ":" in given else self.ray.get_runtime_context().gcs_address)

    def watch(self, address: str) -> None:
        """Take the head to be at this address, host:port."""
        self.address = address
        self._silent_since: float | None = None
        self._is_gone = False
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        # A daemon, since a call that Ray keeps must not keep the process.
        threading.Thread(
            target=_run_calls, args=(self._calls,), name="calls of Ray", daemon=True
        ).start()

    def nodes(self) -> dict[str, dict]:
        """The living nodes' resources by their IDs; none while the head does not answer.

        Raises:
            PipelineError: it has not answered for HEAD_TIMEOUT.
        """
        if self._check_head():
            return {each["NodeID"]: each["Resources"] for each in self._known()}
        return {}

    def _check_head(self) -> bool:
        """Whether the head answers at this moment."""
        if _answers(self.address):
            self._silent_since = None
            return True
        # In a variable of its own: the thread that makes calls checks too, and may reset it.
        since = self._silent_since or time.monotonic()
        self._silent_since = since
        if time.monotonic() - since > HEAD_TIMEOUT:
            self._raise_gone()
        return False

    def _raise_gone(self) -> NoReturn:
        self._is_gone = True
        raise PipelineError(
            f"the head of the Ray cluster at {self.address} is gone, and with it the cluster; "
            "what was computed is kept: start it again and run `dvc repro`"
        )

    def call(self, work: Callable[..., T], *arguments: Any) -> T:
        """Run `work`, which calls Ray, in another thread, and return its result.

        When the head ends, Ray may keep a call for a minute and then end the process without a
        word, or raise whatever it was doing.

        Raises:
            PipelineError: the head has not answered for HEAD_TIMEOUT, or `work` failed because the
                head is gone.
        """
        call = _Call(work, arguments)
        self._calls.put(call)
        while not call.done.wait(HEAD_TIMEOUT / 5):
            self._check_head()
        if call.error is None:
            return call.result
        # Processes of a machine that ends do not end at the same moment.
        deadline = time.monotonic() + GRACE
        while not isinstance(call.error, PipelineError) and time.monotonic() < deadline:
            if not _answers(self.address):
                self._raise_gone()
            time.sleep(GRACE / 10)
        raise call.error

    def answers(self, node_id: str) -> bool:
        """Whether a node is up at this moment. Ray may list a node as alive for half a minute after
        it has ended."""
        here = [each for each in self._known() if each["NodeID"] == node_id]
        return any(
            _answers(f"{each['NodeManagerAddress']}:{each['NodeManagerPort']}") for each in here
        )

    def host(self, node_id: str) -> str:
        """A node's host name, for messages."""
        names = (each["NodeManagerHostname"] for each in self._known() if each["NodeID"] == node_id)
        return next(names, "a node")

    def _known(self) -> list[dict]:
        return [each for each in self.ray.nodes() if each["Alive"]]

    def leave(self) -> None:
        """Disconnect from the cluster, at once if its head node is gone, and end the thread that
        makes the calls, unless Ray keeps it."""
        self._calls.put(None)
        # Ray's shutdown would wait a minute for the head, and its threads end with the interpreter.
        if self._is_gone:
            atexit.unregister(self.ray.shutdown)
            atexit.register(_end)
        else:
            self.ray.shutdown()


@dataclass(eq=False)
class _Call:
    """A call that a thread makes, and its result or error once it is `done`."""

    work: Callable
    arguments: tuple
    done: threading.Event = field(default_factory=threading.Event)
    result: Any = None
    error: Exception | None = None


def _run_calls(calls: "SimpleQueue[_Call | None]") -> None:
    while (call := calls.get()) is not None:
        try:
            call.result = call.work(*call.arguments)
        except Exception as error:
            call.error = error
        call.done.set()


def _end() -> None:
    """Exit the process after its error was printed."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)


def _import_ray() -> Any:
    # A process whose node has ended is ended by Ray too, at once and without a word, where it takes
    # this variable's process for dead. That is for workers: here an error is raised and explained.
    os.environ.setdefault("RAY_RAYLET_PID", str(os.getpid()))
    try:
        import ray
        import ray.util.scheduling_strategies
    except ImportError:
        raise PipelineError(
            "resources.engine = 'ray': Ray is not installed; `make .venv/extra-ray` installs it, "
            "or set local"
        ) from None
    ray.cloudpickle.register_pickle_by_value(worker)  # a node has no package to import it from
    return ray


def _check_answers(address: str) -> None:
    if not _answers(address):
        raise PipelineError(
            f"resources.address = {address!r}: nothing answers there; is the head up (`ray start "
            "--head`), and may this machine reach it?"
        )


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=2):
            return True
    except (OSError, ValueError):
        return False


def _refused(given: str) -> str:
    if ":" not in given:
        return (
            "resources.address = null: no Ray cluster runs on this machine; start one with `ray "
            "start --head`, or give host:port"
        )
    return (
        f"resources.address = {given!r}: the head answers and does not let this machine in; is "
        "the token the cluster's (RAY_AUTH_TOKEN, or ~/.ray/auth_token), and is RAY_AUTH_MODE set "
        "as it is there?"
    )


def _check_is_node(address: str) -> None:
    """Fail at once if this machine is no node; Ray itself would search for a minute."""
    if not any(process.info["name"] == "raylet" for process in psutil.process_iter(["name"])):
        raise PipelineError(
            f"resources.address = {address!r}: this machine is no node of that cluster; make it "
            f"one that does no work itself: `ray start --address={address} --num-cpus=0`"
        )
