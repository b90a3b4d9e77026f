"""Measurements that docs/ quotes: `python -m benchmarks.NAME`."""

import transfer  # noqa: F401  its variables come before NumPy and TensorFlow are imported
