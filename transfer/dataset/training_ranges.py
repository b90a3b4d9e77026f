"""Derives the rules for samples and fourth bands of a data set from its training images."""

from collections import Counter
from collections.abc import Iterable
from itertools import compress

import pandas as pd

from transfer.decoding.value_ranges import KINDS, PixelRules, derive_range
from transfer.labels.listing import count_of
from transfer.sources.scanned_file import ScannedFiles

_DARK_SHARE = 1 / 16  # of the range, that the highest value of an image has to reach


def derive_rules(images: ScannedFiles, manifest: pd.DataFrame) -> PixelRules:
    """The ranges of samples whose format fixes none, and whether fourth bands are transparency, by
    the training images. For a kind of sample that no training image has, all images are used.

    Args:
        manifest: its rows in the order of the images.
    """
    train = Counter(compress(images.findings(), manifest["split"] == "train"))
    ranges = {}
    for kind in KINDS:
        found = [
            [
                each.value_range
                for each in some
                if each.value_range and each.value_range.kind == kind
            ]
            for some in (train, {*images.findings()})
        ]
        if found[1]:
            ranges[kind] = derive_range(found[0] or found[1])
    return PixelRules(
        ranges,
        tiff_alpha=_is_most((each.tiff_alpha, count) for each, count in train.items()),
        alpha=_is_most((each.alpha, count) for each, count in train.items()),
    )


def describe_dark(images: ScannedFiles, rules: PixelRules) -> list[str]:
    """A sentence on the images that the rules make nearly black, as of a camera with fewer bits, or
    of 0 to 1 among images of 0 to 255."""
    dark = []
    for path, found in zip(images.paths, images.findings(), strict=True):
        if found.value_range is not None:
            black, white = rules.ranges[found.value_range.kind]
            if 0 < found.value_range.high - black < _DARK_SHARE * (white - black):
                dark.append(path)
    if not dark:
        return []
    return [
        f"nearly black by these ranges: {count_of(len(dark), 'image')}, such as "
        f"{dark[0]}; if they are of another camera or program, bring all to one range first"
    ]


def _is_most(answers: Iterable[tuple[bool | None, int]]) -> bool:
    """Whether at least half of the answers that are not None are True. Each comes with the number
    of images that gave it."""
    given = [(answer, count) for answer, count in answers if answer is not None]
    return 2 * sum(answer * count for answer, count in given) >= sum(count for _, count in given)
