"""Describes the machine and software that may change the last bits of results
(docs/reproducibility.md)."""

import os
import platform

from transfer.runtime.cores import available_cores
from transfer.runtime.instructions import VARIABLES, processor_information
from transfer.runtime.pins import in_use, installed

# Linux's names of the instruction sets by which libraries choose their kernels on x86-64.
_INSTRUCTIONS = ("avx", "avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile")
_VARIABLES = ("KERAS_BACKEND", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", *VARIABLES)


def describe_environment() -> dict:
    """System, processor, available cores, C library, Python, versions of the packages that decide
    bytes, and the variables that control them."""
    return {
        "system": platform.platform(),
        "processor": processor(),
        "instructions": instruction_sets(),
        "cores": available_cores(),
        "c_library": " ".join(platform.libc_ver()).strip(),
        "python": platform.python_version(),
        "packages": installed(in_use()),
        "variables": {name: os.environ[name] for name in _VARIABLES if name in os.environ},
    }


def processor() -> str:
    """The model's name; Linux keeps it in /proc/cpuinfo and gives Python only the architecture."""
    return processor_information("model name") or platform.processor() or platform.machine()


def instruction_sets() -> list[str]:
    """Those of _INSTRUCTIONS that the processor has; empty if the system does not say (macOS)."""
    there = processor_information("flags").split()
    return [name for name in _INSTRUCTIONS if name in there]
