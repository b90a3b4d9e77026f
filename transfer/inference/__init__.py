"""Predictions for new images by a model that the stages have trained: one row per image."""
