"""Masks that have the name of the picture beside them: `12_mask.png` beside `12.png`."""

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import PurePosixPath

_MASK_OF = re.compile(
    r"(?P<picture>.+?)[ _.-]+(masks?|seg|segmentation|gt|ground[ _-]?truth|labels?|annotations?)"
    r"([ _.-]*\d+)?",
    re.IGNORECASE,
)
# What the name of a mask ends in, as a test that takes little time.
_MAY_BE = re.compile(
    r"(mask|masks|seg|tion|gt|truth|label|labels|tions)[ _.\d-]*\.\w+$", re.IGNORECASE
)
_LEAST = 2  # pictures with a mask, and half of those of the folder: fewer may be a name by chance


def masks_by_name(images: Iterable[str]) -> set[str]:
    """The paths of masks: in a folder of which most pictures have one that is called so.

    Args:
        images: paths of the images of class folders.
    """
    images = [*images]
    places = {path.rpartition("/")[0] for path in images if _MAY_BE.search(path)}
    folders: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for path in images:
        if path.rpartition("/")[0] not in places:
            continue
        plain = PurePosixPath(path)
        folders[str(plain.parent)][plain.stem].append(path)
    found = set()
    for stems in folders.values():
        pictures = {
            stem: match["picture"]
            for stem in stems
            if (match := _MASK_OF.fullmatch(stem)) and match["picture"] in stems
        }
        masked = {*pictures.values()} - {*pictures}
        if len(masked) >= _LEAST and 2 * len(masked) >= len(stems) - len(pictures):
            found.update(path for stem in pictures for path in stems[stem])
    return found
