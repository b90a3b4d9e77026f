"""The stages of dvc.yaml: `python -m stages.NAME` runs one, `--help` says what it does."""

from transfer.runtime.parent_watch import exit_with_dvc

exit_with_dvc()
