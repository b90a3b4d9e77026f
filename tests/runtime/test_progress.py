"""The bar of a stage, in a terminal and in a log."""

import io
import sys

import pytest

from transfer.runtime import progress
from transfer.runtime.progress import progress_bar


class Screen(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("seconds", "lines"), [(30, 2), (0, 6)])
def test_a_log_gets_whole_lines_and_few_of_them(monkeypatch, seconds, lines):
    monkeypatch.setattr(progress, "SECONDS", seconds)
    monkeypatch.setattr(sys, "stderr", log := io.StringIO())
    with progress_bar(range(4), desc="decode", unit=" images") as bar:
        for _ in bar:
            bar.set_postfix_str("loss 0.1", refresh=False)
    assert "\r" not in log.getvalue()
    said = log.getvalue().splitlines()
    assert len(said) == lines
    assert said[0].startswith("decode:   0%")
    assert said[-1].startswith("decode: 100%") and said[-1].endswith("loss 0.1]")


def test_a_terminal_gets_a_bar_that_is_drawn_over(monkeypatch):
    monkeypatch.setattr(sys, "stderr", screen := Screen())
    assert list(progress_bar(range(4))) == [0, 1, 2, 3]
    assert screen.getvalue().count("\r") >= 2
    assert screen.getvalue().count("\n") == 1
