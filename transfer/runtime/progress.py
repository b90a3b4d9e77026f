"""The bar that shows how far a stage has come: drawn over itself in a terminal, a line now and then
in a log."""

import sys
from collections.abc import Iterable
from typing import TextIO

from tqdm import tqdm

# between two lines in a log
SECONDS = 30


def progress_bar(iterable: Iterable | None = None, **options) -> tqdm:
    """A tqdm on standard error.

    Where that is no terminal, each state is a line of its own, without carriage returns: the first,
    the last, and one every SECONDS in between.

    Args:
        options: those of tqdm.
    """
    if sys.stderr.isatty():
        return tqdm(iterable, **options)
    return tqdm(
        iterable, file=_Lines(sys.stderr), mininterval=SECONDS, maxinterval=SECONDS, **options
    )


class _Lines:
    """What tqdm needs of a file; a state is written as a line, and none twice in a row."""

    def __init__(self, file: TextIO):
        self._file, self._last = file, ""
        self.encoding, self.flush = file.encoding, file.flush

    def write(self, text: str) -> None:
        if (state := text.strip()) and state != self._last:
            self._file.write(state + "\n")
            self._last = state
