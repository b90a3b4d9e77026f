"""Detects whether this machine may have a GPU or TPU, without importing a backend, which takes
seconds."""

import os
import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

# The drivers of NVIDIA and AMD, a GPU under WSL, TPUs. A container without one of these sees no
# device.
_DEVICES = ("nvidia[0-9]*", "kfd", "dxg", "accel*", "vfio/[0-9]*")
_MAC_PLUGINS = {"tensorflow": "tensorflow-metal", "jax": "jax-metal"}


def may_have_accelerator(devices: Path = Path("/dev")) -> bool:
    """False if there certainly is none. If True, ask the backend."""
    if sys.platform == "darwin":
        backend = os.environ.get("KERAS_BACKEND", "tensorflow")
        return backend == "torch" or _is_installed(_MAC_PLUGINS.get(backend, ""))
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0") in ("", "-1"):
        return _any_device(devices, (kind for kind in _DEVICES if not kind.startswith("nvidia")))
    return _any_device(devices, _DEVICES)


def _any_device(devices: Path, kinds: Iterable[str]) -> bool:
    return any(True for kind in kinds for _ in devices.glob(kind))


def _is_installed(package: str) -> bool:
    try:
        return bool(package and version(package))
    except PackageNotFoundError:
        return False
