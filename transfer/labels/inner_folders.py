"""Folders that a person may take for classes: those inside class folders, which may be the classes
meant, or patients and sessions; and those without an image."""

from collections import defaultdict
from collections.abc import Iterable

from transfer.labels.layout import Layout
from transfer.labels.listing import first_few


def describe_inner_folders(layout: Layout, paths: Iterable[str]) -> list[str]:
    """A sentence if most class folders hold images in several folders only, for example
    `animals/cat` and `animals/dog`.

    Args:
        paths: of the images.
    """
    inner: dict[str, set[str]] = defaultdict(set)
    own = set()
    for path in paths:
        place, parts = layout.place(path), path.split("/")
        if place is None:
            continue
        folder = layout.class_folder(path)
        if len(parts) == len(folder) + 1:
            own.add(place[1])
        else:
            inner[place[1]].add("/".join(parts[len(folder) - 1 : len(folder) + 1]))
    several = [name for name, folders in inner.items() if name not in own and len(folders) > 1]
    if 2 * len(several) <= len({*inner} | own):
        return []
    found = sorted(folder for name in several for folder in inner[name])
    return [
        f"class folders hold folders of their own, which do not count: {first_few(found)}; "
        "if the inner ones are the classes, set split.label_pattern to "
        "'(?P<label>[^/]+)/[^/]+$'; if they are patients, sessions or the like, set split.group_by "
        "to '([^/]+)/[^/]+$', which keeps each on one side"
    ]


def describe_empty_folders(layout: Layout) -> list[str]:
    """A sentence on folders beside the classes that hold files and no image."""
    others = layout.unlabelled | layout.masks
    found = sorted("/".join(folder) for folder in layout.ignored - others)
    if not found:
        return []
    return [f"folders that hold files and no image are no classes: {first_few(found)}"]
