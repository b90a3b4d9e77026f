"""Which sample values are black and white, where 8 bits do not say it: one rule for a data set.

A file whose format declares its range is scaled by that. Files that declare none are scaled by the
rule that `split` derives from all training images and keeps in data/manifest/pixels.json, so that
equal values are equally bright in every image, also in those that are predicted later.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from transfer.runtime.errors import PipelineError
from transfer.runtime.files import write_json

PIXEL_RULES = Path("data/manifest/pixels.json")
Kind = Literal["unsigned", "signed", "float"]
KINDS: tuple[Kind, ...] = ("unsigned", "signed", "float")
_BITS = {"unsigned": (8, 10, 12, 14, 16, 24, 32), "signed": (7, 8, 10, 12, 14, 15, 31)}
_LEAST_SHARE = 0.25  # of 0 to 1, that floating-point values have to reach to be of that range


@dataclass(frozen=True)
class ValueRange:
    """The range of one image's samples.

    kind: unsigned or signed integers, or floating point.
    low, high: the smallest and the largest, without the few at either end that hot or dead pixels
        may be.
    declared: the (black, white) that the file names, or None.
    """

    kind: Kind
    low: float
    high: float
    declared: tuple[float, float] | None = None


@dataclass(frozen=True)
class PixelRules:
    """How samples become 8-bit RGB.

    ranges: (black, white) of files that declare no range, by kind of sample. Without an entry
        unsigned samples have 16 bits, and the others are refused.
    tiff_alpha: whether a band that a TIFF calls alpha is one, and not near infrared say.
    alpha: whether the fourth band of images of other formats is one.
    background: RGB that transparent pixels are laid over.
    """

    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)
    tiff_alpha: bool = True
    background: tuple[int, int, int] = (255, 255, 255)
    alpha: bool = True


def derive_range(found: Iterable[ValueRange]) -> tuple[float, float]:
    """The (black, white) for images of one kind of sample: what all of them declare, if it is the
    same and holds their values; else the smallest usual range that does.

    Unsigned: 0 to the largest value of 8, 10, 12, 14, 16, 24 or 32 bits. Floating point from 0: to
    1 where it is more than a quarter of that, to 255 where it is more than half of that, or to the
    maximum. Minimum to maximum where the minimum is more than half of the maximum, beyond 255, as
    of temperatures. With negative values: -1 to 1 of floating point, or minimum to maximum.
    """
    found = list(found)
    kind = found[0].kind
    low, high = min(each.low for each in found), max(each.high for each in found)
    declared = {each.declared for each in found}
    if len(declared) == 1 and (only := declared.pop()) and only[0] <= low and high <= only[1]:
        return only
    most = max(abs(low), abs(high))
    is_near_one = kind == "float" and (_LEAST_SHARE < most <= 1 or most == 0)
    if low < 0:
        return (-1, 1) if is_near_one else _wide(low, high)
    if is_near_one:
        return 0, 1
    if high > 255 and high / 2 < low < high:
        return low, high
    if kind == "float":
        return (0, 255) if 127.5 < high <= 255 else _wide(0, high)
    return 0, next((2**bits - 1 for bits in _BITS[kind] if high < 2**bits), high)


def _wide(low: float, high: float) -> tuple[float, float]:
    return low, high if high > low else low + 1


def write_pixel_rules(rules: PixelRules, path: Path = PIXEL_RULES) -> None:
    """Write what the data set decides; the background is a parameter and not written."""
    content = {
        "ranges": {kind: list(rules.ranges[kind]) for kind in KINDS if kind in rules.ranges},
        "tiff_alpha": rules.tiff_alpha,
    }
    write_json(path, content if rules.alpha else content | {"alpha": False})


def load_pixel_rules(background: tuple[int, int, int], path: Path = PIXEL_RULES) -> PixelRules:
    """The rules of the data set that the models were trained on; without the file, those of 8-bit
    images.

    Raises:
        PipelineError: the file is damaged.
    """
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        ranges = {
            kind: (float(black), float(white)) for kind, (black, white) in stored["ranges"].items()
        }
        alpha = stored.get("alpha", True)
        known = {*map(type, (stored["tiff_alpha"], alpha))} == {bool} and {*ranges} <= {*KINDS}
        if not known or not all(black < white for black, white in ranges.values()):
            raise ValueError("values that split does not write")
    except FileNotFoundError:
        return PixelRules(background=background)
    except (ValueError, TypeError, KeyError, AttributeError, OSError) as error:
        raise PipelineError(
            f"{path} is damaged ({error}); delete it and run `dvc repro split`"
        ) from None
    return PixelRules(ranges, stored["tiff_alpha"], background, alpha)
