"""Keras and its backends: device, precision, determinism."""
