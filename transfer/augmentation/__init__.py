"""Augmented views of the training images: one affine warp per view."""
