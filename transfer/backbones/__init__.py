"""Pretrained backbones: registry, weight sources, and the split into frozen and trainable
layers."""
