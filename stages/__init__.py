"""The stages of dvc.yaml, and the commands `predict` and `demo`: `python -m stages.NAME` runs one, `--help` says what it does."""

import os

from transfer.lifeline import end_with_dvc

# TensorFlow's start-up remarks on instruction sets and absent GPUs drown a stage's own words; set it to 0 to see them.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
end_with_dvc()
