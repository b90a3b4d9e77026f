"""The stages of dvc.yaml: `python -m stages.NAME` runs one, `--help` says what it does."""

import gc
import os

from transfer.runtime.program import explain_interrupt

explain_interrupt()

from transfer.runtime.parent_watch import exit_with_dvc  # noqa: E402, psutil takes its time

exit_with_dvc()
if "DVC_STAGE" in os.environ:
    # all that a stage imports lives as long as its process; `run_stage` starts the collector again
    gc.disable()
