"""What the stages share: one module an idea, cut by who uses it, since DVC tracks files."""

from transfer.instructions import hold_to_avx2

hold_to_avx2()  # before any module below imports NumPy or TensorFlow
