"""Connects to a Ray cluster, tracks its nodes, and explains connection failures."""

import atexit
import os
import socket
import sys
import time
from typing import Any

import psutil

from transfer.cluster import worker
from transfer.runtime.errors import PipelineError
from transfer.runtime.resource_params import ResourceParams

HEAD_TIMEOUT = 5.0  # seconds; a head that is gone for longer does not return with the same workers


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
        self.address = given if ":" in given else self.ray.get_runtime_context().gcs_address
        self._silent_since: float | None = None
        self._is_gone = False

    def nodes(self) -> dict[str, dict]:
        """The living nodes' resources by their IDs; none while the head does not answer.

        Raises:
            PipelineError: it has not answered for HEAD_TIMEOUT.
        """
        if _answers(self.address):
            self._silent_since = None
            return {each["NodeID"]: each["Resources"] for each in self._known()}
        self._silent_since = self._silent_since or time.monotonic()
        if time.monotonic() - self._silent_since > HEAD_TIMEOUT:
            self._is_gone = True
            raise PipelineError(
                f"the head of the Ray cluster at {self.address} is gone, and with it the cluster; "
                "what was computed is kept: start it again and run `dvc repro`"
            )
        return {}

    def answers(self, node_id: str | None) -> bool:
        """Whether a node is up at this moment. Ray may list a node as alive for half a minute after
        it has ended."""
        here = [each for each in self._known() if each["NodeID"] == node_id]
        return any(
            _answers(f"{each['NodeManagerAddress']}:{each['NodeManagerPort']}") for each in here
        )

    def _known(self) -> list[dict]:
        return [each for each in self.ray.nodes() if each["Alive"]]

    def leave(self) -> None:
        """Disconnect from the cluster, at once if its head node is gone."""
        # Ray's shutdown would wait a minute for the head, and its threads end with the interpreter.
        if self._is_gone:
            atexit.unregister(self.ray.shutdown)
            atexit.register(_end)
        else:
            self.ray.shutdown()


def _end() -> None:
    """Exit the process after its error was printed."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)


def _import_ray() -> Any:
    try:
        import ray
        import ray.util.scheduling_strategies
    except ImportError:
        raise PipelineError(
            "resources.engine = 'ray': Ray is not installed; pip install --no-deps "
            "--require-hashes -r requirements/ray.txt, or set local"
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
