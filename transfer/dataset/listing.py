"""Numbers and lists of files, classes and images in the words of a message."""

from collections.abc import Sequence


def first_ten(items: Sequence[str], separator: str = ", ") -> str:
    """The first ten items, and how many more there are."""
    return separator.join(items[:10]) + (
        f"{separator}... and {len(items) - 10} more" if len(items) > 10 else ""
    )


def count_files(n: int) -> str:
    """A number of files in words."""
    return "1 file" if n == 1 else f"{n} files"
