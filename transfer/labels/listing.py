"""Numbers and lists in the words of a message."""

from collections.abc import Iterable


def first_few(items: Iterable[str], shown: int = 3, separator: str = ", ") -> str:
    """The first items, and how many more there are."""
    items = list(items)
    rest = f"{separator}... and {len(items) - shown:,} more" if len(items) > shown else ""
    return separator.join(items[:shown]) + rest


def count_of(n: int, noun: str) -> str:
    """A number with its noun: `1 file`, `2 files`."""
    return f"1 {noun}" if n == 1 else f"{n:,} {noun}s"
