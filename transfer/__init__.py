"""The library behind stages and commands: packages in layers, each of which imports from lower
layers only (CONTRIBUTING.md)."""

from transfer.runtime.instructions import hold_to_avx2
from transfer.runtime.privacy import report_nothing
from transfer.runtime.startup_messages import hide_messages

# before any module below imports NumPy, TensorFlow or another library that reads a variable
hold_to_avx2()
hide_messages()
report_nothing()
