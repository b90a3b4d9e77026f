"""Scores, calibration, comparison of models, Grad-CAM, mistakes."""
