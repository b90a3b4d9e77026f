"""Where something was computed: the facts that may change its last bits (docs/reproducibility.md)."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from transfer.parallel import available_cores

_PACKAGES = ("dvc", "keras", "tensorflow", "jax", "torch", "numpy", "scipy", "pandas", "pillow", "scikit-learn", "h5py")
_VARIABLES = (
    "KERAS_BACKEND",
    "CUDA_VISIBLE_DEVICES",
    "XLA_FLAGS",
    "TF_ENABLE_ONEDNN_OPTS",
    "ONEDNN_MAX_CPU_ISA",
    "OMP_NUM_THREADS",
    "OPENBLAS_CORETYPE",
    "NPY_DISABLE_CPU_FEATURES",
    "NPY_ENABLE_CPU_FEATURES",
)


def describe_environment() -> dict:
    """System, processor, cores that may be used, Python, versions of the packages that compute, and the variables that steer them."""
    return {
        "system": platform.platform(),
        "processor": _processor(),
        "cores": available_cores(),
        "python": platform.python_version(),
        "packages": {name: installed for name in _PACKAGES if (installed := _version(name))},
        "variables": {name: os.environ[name] for name in _VARIABLES if name in os.environ},
    }


def _processor() -> str:
    """The model's name; Linux keeps it in /proc/cpuinfo and gives Python only the architecture."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text(encoding="utf-8").splitlines() if information.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
