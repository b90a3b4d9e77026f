"""Measurements that docs/ quotes: `python -m benchmarks.NAME`."""

import os

# What this process was given, before the line below adds to it: what another program is compared
# with must not compute under the limits that the pipeline sets for itself.
INHERITED = dict(os.environ)

import transfer  # noqa: E402, F401  its variables come before NumPy and TensorFlow are imported
