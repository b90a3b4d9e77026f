"""Hides TensorFlow's start-up remarks on oneDNN, instruction sets and absent GPUs, and LiteRT's on
XNNPACK, which would hide the messages of stages and commands.

TF_CPP_MIN_LOG_LEVEL is TensorFlow's own setting for its messages; `transfer/__init__.py` sets it to
3 unless the user has set it, and 0 shows all. Some remarks are printed while TensorFlow's libraries
are loaded, before they read it; these are filtered. LiteRT does not read it at all.
"""

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from transfer.runtime.instructions import missing_instructions

LEVEL = "TF_CPP_MIN_LOG_LEVEL"
_FATAL_ONLY = "3"
# of the level INFO, and the remark in front of the first message
_REMARK = re.compile(
    rb"I\d{4} [\d:.]+ |WARNING: All log messages before absl::InitializeLog"
    rb"|INFO: Created TensorFlow Lite XNNPACK delegate"
)


def hide_messages() -> None:
    """Set TF_CPP_MIN_LOG_LEVEL unless the user has set it."""
    os.environ.setdefault(LEVEL, _FATAL_ONLY)


@contextmanager
def without_remarks() -> Iterator[None]:
    """Hold back what the block writes to file descriptor 2, and write all of it but the remarks as
    the block ends.

    Nothing is held back where TF_CPP_MIN_LOG_LEVEL asks for messages, or where the processor lacks
    instructions, since the process may end in the block then and its last message would be lost.
    """
    if os.environ.get(LEVEL) != _FATAL_ONLY or missing_instructions():
        yield
        return
    sys.stderr.flush()
    shown = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(shown, 2)
            os.close(shown)
            held.seek(0)
            for line in held:
                if not _REMARK.match(line):
                    os.write(2, line)
