"""Where something was computed: the facts that may change its last bits (docs/reproducibility.md)."""

import os
import platform
from pathlib import Path

from transfer.parallel import available_cores
from transfer.pins import in_use, installed

# By these, as Linux names them, the libraries choose their kernels on x86-64.
_INSTRUCTIONS = ("avx", "avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile")
_VARIABLES = ("KERAS_BACKEND", "CUDA_VISIBLE_DEVICES", "XLA_FLAGS", "TF_ENABLE_ONEDNN_OPTS", "ONEDNN_MAX_CPU_ISA", "OMP_NUM_THREADS")


def describe_environment() -> dict:
    """System, processor, cores that may be used, Python, versions of the packages that decide bytes, and the variables that steer them."""
    return {
        "system": platform.platform(),
        "processor": processor(),
        "instructions": instruction_sets(),
        "cores": available_cores(),
        "python": platform.python_version(),
        "packages": installed(in_use()),
        "variables": {name: os.environ[name] for name in _VARIABLES if name in os.environ},
    }


def processor() -> str:
    """The model's name; Linux keeps it in /proc/cpuinfo and gives Python only the architecture."""
    return _of_processor("model name") or platform.processor() or platform.machine()


def instruction_sets() -> list[str]:
    """Those of _INSTRUCTIONS that the processor has; none where the system does not say (macOS)."""
    there = _of_processor("flags").split()
    return [name for name in _INSTRUCTIONS if name in there]


def _of_processor(key: str, information: Path = Path("/proc/cpuinfo")) -> str:
    """What Linux says of the first core; empty where it says nothing."""
    lines = information.read_text(encoding="utf-8").splitlines() if information.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == key), "")
