"""The stages of dvc.yaml: `python -m stages.NAME` runs one, `--help` says what it does."""

from transfer.runtime.parent_watch import exit_with_dvc
from transfer.runtime.program import explain_interrupt

exit_with_dvc()
explain_interrupt()
