"""The folders of a source as a tree, with the number of pictures in each."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from transfer.sources.source_file import climbs, is_sidecar


@dataclass
class Folder:
    """pictures, others: the numbers of files below it that may be images, and that cannot. own: the
    number of pictures directly in it."""

    folders: dict[str, "Folder"] = field(default_factory=dict)
    pictures: int = 0
    others: int = 0
    own: int = 0

    @property
    def kids(self) -> dict[str, "Folder"]:
        """The folders in it, but for those that hold files and no picture."""
        return {
            name: folder
            for name, folder in self.folders.items()
            if folder.pictures or not folder.others
        }

    @property
    def is_flat(self) -> bool:
        return not self.kids


def tree_of(paths: Iterable[str]) -> Folder:
    root = Folder()
    for path in paths:
        if climbs(path):
            continue
        *folders, name = path.split("/")
        is_other = is_sidecar(name)
        node = root
        for folder in [None, *filter(None, folders)]:
            node = node if folder is None else node.folders.setdefault(folder, Folder())
            node.pictures += bool(name) and not is_other
            node.others += bool(name) and is_other
        node.own += bool(name) and not is_other
    return root


def descend(node: Folder, prefix: tuple[str, ...]) -> tuple[Folder, tuple[str, ...]]:
    """Go down through folders that are alone in theirs and hold folders; `prefix` grows by their
    names."""
    while len(kids := node.kids) == 1 and not (kid := next(iter(kids.values()))).is_flat:
        node, prefix = kid, (*prefix, next(iter(kids)))
    return node, prefix
