"""What the training images say of samples whose range no format fixes."""

import pandas as pd

from transfer.decoding.value_ranges import KINDS, PixelRules, derive_range
from transfer.sources.scanned_file import ScannedFile

_DARK_SHARE = 1 / 16  # of the range, that the highest value of an image has to reach


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


def describe_dark(images: list[ScannedFile], rules: PixelRules) -> list[str]:
    """A sentence on the images that the rules make nearly black, as of a camera with fewer bits, or
    of 0 to 1 among images of 0 to 255."""
    dark = []
    for image in images:
        if image.value_range is not None:
            black, white = rules.ranges[image.value_range.kind]
            if 0 < image.value_range.high - black < _DARK_SHARE * (white - black):
                dark.append(image.path)
    if not dark:
        return []
    return [
        f"nearly black by these ranges: {len(dark):,} {'image' if len(dark) == 1 else 'images'}, "
        f"such as {dark[0]}; if they are of another camera or program, bring all to one range first"
    ]


def _is_most(answers: list[bool | None]) -> bool:
    """Whether at least half of those that say something say yes."""
    given = [answer for answer in answers if answer is not None]
    return 2 * sum(given) >= len(given)
