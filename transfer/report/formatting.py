"""Numbers, names and lists as people read them."""

import math
import re
from collections.abc import Sequence
from numbers import Real

import numpy as np

from transfer.report.results import Value

UNSHOWABLE = "[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"


def number(value: Value | None, digits: int = 3) -> str:
    """A number with this many decimals; text unchanged; None as a dash."""
    if value is None or value == "":
        return "–"
    if isinstance(value, str):
        return value
    if not math.isfinite(value):
        return "not defined"
    return f"{value:.{digits}f}".replace("-", "−")


def count(value: Value) -> str:
    """A whole number with commas; text unchanged."""
    return f"{value:,.0f}" if is_number(value) else number(value)


def percent(value: Value) -> str:
    return f"{100 * value:.1f}\N{NO-BREAK SPACE}%" if is_number(value) else number(value)


def points(value: Value) -> str:
    """A difference of two fractions in percentage points, with its sign."""
    return f"{100 * value:+.1f}".replace("-", "−") if is_number(value) else number(value)


def is_number(value: object) -> bool:
    """Whether a value is a finite number, Python's or NumPy's; text is not."""
    return isinstance(value, Real) and math.isfinite(value)


def visible(text: str) -> str:
    """Text on one line; what no file can hold, or what turns the text around it, becomes U+FFFD.

    That is control characters, halves of characters, and the controls that embed or override a
    direction of writing.
    """
    return re.sub(UNSHOWABLE, "\ufffd", re.sub(r"[\t\n\r\u2028\u2029]+", " ", text))


def shorten(text: str, most: int = 24) -> str:
    """Visible text of at most `most` characters, its middle left out:
    both ends tell names apart."""
    text, half = visible(text), (most - 1) // 2
    return text if len(text) <= most else f"{text[:half]}…{text[-half:]}"


def listed(words: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def plural(n: int, noun: str) -> str:
    return f"{n:,} {noun if n == 1 else noun + ('es' if noun.endswith('ss') else 's')}"


def interval(low: Value, high: Value) -> str:
    return (
        f"{percent(low)} to {percent(high)}" if is_number(low) and is_number(high) else number(low)
    )


def evenly(n: int, most: int) -> np.ndarray:
    """At most `most` (2 or more) of n rows, evenly chosen, the first and the last among them: int
    (M,)."""
    return np.arange(n) if n <= most else np.linspace(0, n - 1, most).round().astype(int)
