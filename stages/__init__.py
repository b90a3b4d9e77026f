"""The stages of dvc.yaml: `python -m stages.NAME` runs one, `--help` says what it does."""

import os

from transfer.runtime.parent_watch import exit_with_dvc

# TensorFlow's start-up messages about instruction sets and missing GPUs would hide a stage's own
# messages; set it to 0 to see them.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
exit_with_dvc()
