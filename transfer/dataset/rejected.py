"""data/split/rejected.csv: the files of the source that cannot be used, each with its reason."""

from pathlib import Path

from transfer.labels.listing import count_of, first_few
from transfer.runtime.errors import PipelineError
from transfer.runtime.files import write_csv
from transfer.sources.scanned_file import ScannedFiles

REJECTED = Path("data/split/rejected.csv")


def write_rejected(rejected: ScannedFiles) -> None:
    """Write path and reason of each."""
    write_csv(REJECTED, ["path", "reason"], [(file.path, file.problem) for file in rejected])


def check_rejected(rejected: ScannedFiles, most: int) -> None:
    """Stop if more files are rejected than `split.max_rejected` allows.

    Raises:
        PipelineError: there are more; the first of them are named.
    """
    if len(rejected) > most:
        raise PipelineError(
            f"{count_of(len(rejected), 'file')} cannot be used, more than split.max_rejected = "
            f"{most} (all of them are in {REJECTED}):\n"
            f"{list_rejected(rejected)}\nRepair or remove them, or raise split.max_rejected."
        )


def list_rejected(rejected: ScannedFiles) -> str:
    """The first ten rejected files with their reasons, one line per file."""
    return first_few([f"  {file.path}: {file.problem}" for file in rejected], 10, "\n")
