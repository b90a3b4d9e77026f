"""What a node of the cluster gets before it works: the code and some variables; and which package
versions it must have."""

import io
import os
import zipfile
from pathlib import Path

import transfer
from transfer.runtime.errors import PipelineError

# Endpoints, but no secrets: a node has its own credentials.
_PASSED_ON = (
    *("KERAS_BACKEND", "XLA_FLAGS", "TF_ENABLE_ONEDNN_OPTS", "ONEDNN_MAX_CPU_ISA"),
    *("AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION", "AWS_PROFILE"),
)


def pack_package() -> bytes:
    """A zip archive of the package `transfer`, for a node that does not have it."""
    package = Path(transfer.__file__).parent
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for source in sorted(package.rglob("*.py")):
            archive.write(source, source.relative_to(package.parent))
    return buffer.getvalue()


def passed_on_variables() -> dict[str, str]:
    """The variables of this process that a worker's results may depend on."""
    return {name: os.environ[name] for name in _PASSED_ON if name in os.environ}


def check_versions(host: str, there: dict[str, str], here: dict[str, str]) -> None:
    """Check that a node has this machine's package versions, since others may give other bits.

    Raises:
        PipelineError: it does not; each difference.
    """
    differ = [
        f"{name} {there[name]} (here {here[name]})" for name in here if there[name] != here[name]
    ]
    if differ:
        raise PipelineError(
            f"{host} has other versions than this machine: {', '.join(differ)}; install "
            "requirements.txt and requirements/ray.txt there too"
        )
