"""Switches off what libraries report about their use to their makers."""

import os

# ONNX Runtime also keeps an identifier of the machine in the user's home.
OPT_OUTS = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "ORT_DISABLE_TELEMETRY": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}


def report_nothing() -> None:
    """Set the libraries' own variables, unless the user has set them. They must be set before the
    libraries are imported."""
    for name, value in OPT_OUTS.items():
        os.environ.setdefault(name, value)
