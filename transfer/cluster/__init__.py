"""Runs the map over images on Ray. It does not change any output byte, so dvc.yaml does not list
it."""
