"""The library behind stages and commands: packages in layers, each of which imports from lower
layers only (CONTRIBUTING.md)."""

from transfer.runtime.instructions import hold_to_avx2
from transfer.runtime.startup_messages import hide_messages

# before any module below imports NumPy or TensorFlow
hold_to_avx2()
hide_messages()
