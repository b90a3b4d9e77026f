"""Makes every x86-64 processor with AVX2 compute the same bits, by variables that NumPy, OpenBLAS
and TensorFlow read when they are loaded.

These libraries choose their kernels by the processor they find, and another kernel adds in another
order, so that the last bits differ (docs/reproducibility.md). Here they are limited to what every
such processor has. `transfer/__init__.py` calls it, because that runs before any module of the
project can import one of them.
"""

import os
import platform
from pathlib import Path

INFORMATION = Path("/proc/cpuinfo")
X86_64 = ("x86_64", "AMD64")
# Variables by which libraries choose their kernels, whoever set them: another value may give other
# bytes.
VARIABLES = (
    "TF_ENABLE_ONEDNN_OPTS",
    "ONEDNN_MAX_CPU_ISA",
    "XLA_FLAGS",
    "OPENBLAS_CORETYPE",
    "NPY_DISABLE_CPU_FEATURES",
    "NPY_ENABLE_CPU_FEATURES",
)
ONEDNN_CAP = "ONEDNN_MAX_CPU_ISA"
_CAPPED = "AVX2"
_ON_AVX2 = {
    ONEDNN_CAP: _CAPPED,
    "OPENBLAS_CORETYPE": "Haswell",  # its kernels for AVX2, in NumPy's copy and in SciPy's
    # all beyond AVX2 that NumPy has kernels for
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
}


def hold_to_avx2() -> None:
    """Set the variables that the user has not set: oneDNN is switched on in TensorFlow, and no
    library uses more than AVX2.

    By itself TensorFlow switches oneDNN on only if the processor has certain extensions, and
    otherwise computes with Eigen. A processor without AVX2 or FMA, or of another kind than x86-64,
    keeps the kernels that the libraries choose for it. A variable that is set already is not
    changed; `logs/STAGE.json` records all of them.
    """
    if platform.machine() not in X86_64:
        return
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    if not processor_information("flags") or missing_instructions():
        return
    for name, value in _ON_AVX2.items():
        # NumPy refuses to start with both
        if name != "NPY_DISABLE_CPU_FEATURES" or "NPY_ENABLE_CPU_FEATURES" not in os.environ:
            os.environ.setdefault(name, value)


def allow_all_instructions() -> None:
    """Let oneDNN use all that the processor has, unless the user has set another limit than
    `hold_to_avx2` does.

    Must come before TensorFlow's first operation: oneDNN reads the variable once.
    """
    if os.environ.get(ONEDNN_CAP) == _CAPPED:
        del os.environ[ONEDNN_CAP]


def missing_instructions() -> str | None:
    """The instruction set, for example `avx2`, that an x86-64 processor lacks for the kernels used
    here; None if it has all.

    Systems other than Linux do not say, and are assumed to have them; ARM processors need none of
    these.
    """
    flags = processor_information("flags").split()
    if platform.machine() not in X86_64 or not flags:
        return None
    return next((wanted for wanted in ("avx2", "fma") if wanted not in flags), None)


def processor_information(key: str) -> str:
    """The value of `key`, for example `model name` or `flags`, for the first core in /proc/cpuinfo;
    empty if there is none."""
    lines = INFORMATION.read_text(encoding="utf-8").splitlines() if INFORMATION.exists() else []
    return next(
        (line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == key),
        "",
    )
