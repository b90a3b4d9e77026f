"""What the training images say of samples whose range no format fixes."""

import pandas as pd

from transfer.sources.scanned_file import ScannedFile
from transfer.sources.value_ranges import KINDS, PixelRules, derive_range


def derive_rules(images: list[ScannedFile], manifest: pd.DataFrame) -> PixelRules:
    """What the training images say of samples whose range no format fixes, and of fourth bands that
    may be no transparency. For a kind of sample that no training image has, all images are used."""
    splits = dict(zip(manifest["path"], manifest["split"], strict=True))
    train = [image for image in images if splits[image.path] == "train"]
    ranges = {}
    for kind in KINDS:
        found = [
            [
                each.value_range
                for each in some
                if each.value_range and each.value_range.kind == kind
            ]
            for some in (train, images)
        ]
        if found[1]:
            ranges[kind] = derive_range(found[0] or found[1])
    return PixelRules(
        ranges,
        tiff_alpha=_is_most([image.tiff_alpha for image in train]),
        alpha=_is_most([image.alpha for image in train]),
    )


def _is_most(answers: list[bool | None]) -> bool:
    """Whether at least half of those that say something say yes."""
    given = [answer for answer in answers if answer is not None]
    return 2 * sum(given) >= len(given)
