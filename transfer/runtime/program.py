"""Runs a command as a program: an error that a person can correct is printed as one sentence, a bug
keeps its traceback."""

import argparse
import codecs
import io
import os
import sys
from collections.abc import Callable
from types import TracebackType

from transfer.runtime.errors import PipelineError
from transfer.runtime.extras import explain_missing

FAILED, INTERRUPTED = 1, 130


def command_parser(
    name: str, description: str | None, epilog: str | None = None
) -> argparse.ArgumentParser:
    """A parser for `python -m transfer NAME` whose help prints both texts with their line ends.

    Args:
        description: the docstring of the command's module.
        epilog: what the help ends with, for example the exit codes.
    """
    return argparse.ArgumentParser(
        prog=f"python -m transfer {name}",
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def explain(error: Exception) -> str | None:
    """The sentence for an error that a person can correct; None for a bug.

    These are PipelineError, a package of an extra that is not installed, and what the system
    refuses (OSError), such as a full disk, with the file that it is about.
    """
    if isinstance(error, PipelineError):
        return str(error)
    if isinstance(error, ModuleNotFoundError):
        return explain_missing(error)
    if isinstance(error, OSError):
        # for a rename the second is the intended file
        place = error.filename2 or error.filename
        return f"{f'{place}: ' if place else ''}{error.strerror or error}"
    return None


def explain_interrupt() -> None:
    """In a process that DVC runs, let Ctrl-C print a sentence and no traceback, also while modules
    are imported. The process still ends by the signal."""
    if "DVC_STAGE" not in os.environ:
        return
    others = sys.excepthook

    def show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            print(
                f"{os.environ['DVC_STAGE']}: interrupted; nothing is half-written, and `dvc repro` "
                "continues",
                file=sys.stderr,
            )
        else:
            others(kind, error, trace)

    sys.excepthook = show


def accept_every_character() -> None:
    """Have a character that the terminal's encoding lacks printed as a question mark, so that a
    name or a table does not end the program (LC_ALL=de_DE.ISO-8859-1)."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and codecs.lookup(stream.encoding).name != "utf-8":
            stream.reconfigure(errors="replace")


def run_program(name: str, main: Callable[[], int | None]) -> int:
    """Run `main` and return the exit code.

    An error that `explain` has a sentence for is printed on standard error, after the name. A
    reader that closes the pipe early, such as `head`, is no error. Ctrl-C ends it without a
    traceback.
    """
    accept_every_character()
    try:
        return _run_explained(name, main)
    except BrokenPipeError:
        return 0
    finally:
        try:
            _flush()
        except OSError:  # Python would write the rest of its buffer at exit, and fail again
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run_explained(name: str, main: Callable[[], int | None]) -> int:
    try:
        code = main() or 0
        _flush()  # which may be the first to meet a closed pipe or a full disk
        return code
    except SystemExit:  # as argparse raises after it has printed a help text
        _flush()
        raise
    except BrokenPipeError:
        raise
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        if (sentence := explain(error)) is None:
            raise
        print(f"{name}: {sentence}", file=sys.stderr)
        return FAILED


def _flush() -> None:
    if sys.stdout is not None:  # as it is where the shell has closed it
        sys.stdout.flush()
