"""The map over images on Ray. It changes no byte of any output,
so no stage lists it in dvc.yaml."""
