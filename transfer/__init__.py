"""What stages and commands are made of: packages on floors, each of which imports from those below
only (CONTRIBUTING.md)."""

from transfer.runtime.instructions import hold_to_avx2

hold_to_avx2()  # before any module below imports NumPy or TensorFlow
