"""Runs a command in the test's process as if a person had typed it."""

import io
import json
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import NamedTuple

import pytest

from transfer.__main__ import main


class Said(NamedTuple):
    """The exit code of a command, and what it printed."""

    code: int
    out: str
    err: str


def typed(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> Callable[..., Said]:
    """A function that runs `python -m transfer COMMAND` with its words and bytes of standard
    input."""

    def say(*words: object, stdin: bytes = b"") -> Said:
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(stdin)))
        try:
            code = main([command, *map(str, words)])
        except SystemExit as exit_:  # argparse's
            code = exit_.code
        return Said(code, *capsys.readouterr())

    return say


def split_rows(text: str) -> list[dict]:
    """The rows of a command's output in the format jsonl."""
    return [json.loads(line) for line in text.splitlines()]
