"""Augmented views of the training images: one affine warp a view."""
