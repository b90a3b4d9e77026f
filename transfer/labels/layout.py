"""Where a source keeps its classes, and its splits if it has any."""

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from transfer.labels.box_files import describe_boxes
from transfer.labels.doubtful_layouts import (
    BY_PATTERN,
    check_alike_in_splits,
    check_no_copies,
    check_no_holder,
    check_no_initials,
    check_no_masks,
    check_no_masks_beside,
    check_no_parts,
    check_unambiguous,
    check_unambiguous_inside,
    not_splits,
)
from transfer.labels.folder_tree import Folder, descend, tree_of
from transfer.labels.folder_words import (
    is_called_unlabelled,
    mask_names,
    name_splits,
    sounds_unlabelled,
    spelling_key,
    split_and_label_pattern,
)
from transfer.labels.packed_sets import describe_packed, describe_shards
from transfer.runtime.errors import PipelineError
from transfer.sources.source_file import IMAGE_NAME, climbs, clutter_of


@dataclass(frozen=True)
class ClassRoot:
    """A folder whose own folders are classes; or, with `class_name`, the folder of that class."""

    folder: tuple[str, ...]
    split: str | None = None
    class_name: str | None = None


@dataclass(frozen=True)
class Layout:
    """Where a source keeps its classes.

    roots: the folders that hold class folders, each with its split if the source is split.
    unlabelled: folders of images whose labels are unknown. masks: folders of masks beside the
    pictures of a class. ignored: folders that are no classes.
    """

    roots: tuple[ClassRoot, ...] = (ClassRoot(()),)
    unlabelled: frozenset[tuple[str, ...]] = frozenset()
    masks: frozenset[tuple[str, ...]] = frozenset()
    ignored: frozenset[tuple[str, ...]] = frozenset()

    @property
    def is_split(self) -> bool:
        """Whether the source says which image is train, validation or test."""
        return any(root.split for root in self.roots)

    @cached_property
    def _by_folder(self) -> Mapping[tuple[str, ...], ClassRoot]:
        return {root.folder: root for root in self.roots}

    @cached_property
    def _depths(self) -> list[int]:
        return sorted({len(root.folder) for root in self.roots}, reverse=True)

    def place(self, path: str) -> tuple[str | None, str] | None:
        """Split (None unless pre-split) and class of a file, or None when it lies in no class
        folder. A class name is in Unicode's composed form, whichever the folder's is in."""
        if (root := self._root_of(path)) is None:
            return None
        parts = tuple(path.split("/"))
        depth = len(root.folder)
        if parts[: depth + 1] in self.ignored or not (root.class_name or parts[depth]):
            return None
        return root.split, unicodedata.normalize("NFC", root.class_name or parts[depth])

    def class_folder(self, path: str) -> tuple[str, ...]:
        """The folder of the class of a file that `place` gives one."""
        root = self._root_of(path)
        return tuple(path.split("/")[: len(root.folder) + (0 if root.class_name else 1)])

    def _root_of(self, path: str) -> ClassRoot | None:
        if climbs(path):
            return None
        parts = tuple(path.split("/"))
        for depth in self._depths:
            root = self._by_folder.get(parts[:depth])
            if root is not None and len(parts) >= depth + (1 if root.class_name else 2):
                return root
        return None

    def is_unlabelled(self, path: str) -> bool:
        """Whether a file lies in a folder of images whose labels are unknown."""
        return _lies_in(path, self.unlabelled)

    def is_mask(self, path: str) -> bool:
        """Whether a file lies in a folder of masks beside the pictures of a class."""
        return _lies_in(path, self.masks)


def _lies_in(path: str, folders: frozenset[tuple[str, ...]]) -> bool:
    parts = tuple(path.split("/"))
    return any(parts[:depth] in folders for depth in range(1, len(parts) + 1))


def find_layout(paths: Iterable[str], source: Path | str) -> Layout:
    """Find the class folders among the paths of files and folders (the latter end in `/`).

    A folder that is alone at its level and holds folders is a wrapper and is looked through. The
    folders on one level are splits if their names say so; then each may have wrappers of its own.
    Class folders that hold split folders are read too. What systems leave (`.DS_Store`) counts for
    nothing. `source` is for messages.

    Raises:
        PipelineError: no folders at all; splits that are not train and others, each once; labels
            that are not in the names of folders; pictures with boxes or masks instead of classes;
            or it is ambiguous what is a class.
    """
    paths = [path for path in paths if not clutter_of(path)]
    where = f"split.source = {str(source)!r}"
    hint = describe_boxes(paths) or describe_shards(paths)
    if not hint and not any(IMAGE_NAME.search(path) for path in paths):
        hint = describe_packed(paths)
    try:
        layout = _find_layout(paths, where)
    except PipelineError as problem:
        if not hint:
            raise
        raise PipelineError(f"{problem}. {hint}") from None
    if hint and len({place[1] for path in paths if (place := layout.place(path))}) < 2:
        raise PipelineError(f"{where}: there are no class folders. {hint}")
    return layout


def _find_layout(paths: Iterable[str], where: str) -> Layout:
    node, prefix = descend(tree_of(paths), ())
    kids = node.kids
    if not kids:
        raise PipelineError(
            f"{where} holds no class folders; put each class's images in a folder of its own, or "
            f"have labels read from a table (split.labels) or from the paths: {BY_PATTERN}"
        )
    splits = name_splits(kids)
    if len({*splits.values()}) >= 2 or (splits and _others_are_unlabelled(kids, splits)):
        return _split_layout(node, prefix, splits, where)
    if (inner := _splits_inside(kids, where)) is not None:
        check_unambiguous_inside(kids, inner, where)
        roots = [
            ClassRoot((*prefix, name, folder), split, name)
            for name, found in inner.items()
            for folder, split in found.items()
        ]
        return Layout(tuple(roots))
    check_no_masks(kids, where)
    roots, masks = _class_roots(node, prefix)
    if not masks:
        check_no_copies(kids, prefix, where)
        check_no_masks_beside(kids, where)
        check_no_initials(kids, where)
        check_unambiguous(kids, splits, where)
        check_no_holder(kids, prefix, where)
    check_no_parts(kids, where)
    unlabelled = _unlabelled_classes(node, prefix)
    ignored = _ignored(node, prefix) | {*unlabelled}
    return Layout(tuple(roots), frozenset(unlabelled), frozenset(masks), ignored)


def _ignored(node: Folder, prefix: tuple[str, ...]) -> frozenset[tuple[str, ...]]:
    return frozenset((*prefix, name) for name in node.folders.keys() - node.kids.keys())


def _unlabelled_classes(node: Folder, prefix: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Folders beside two or more classes whose names say that nobody labelled what is in them."""
    names = [name for name, kid in node.kids.items() if kid.is_flat and is_called_unlabelled(name)]
    return [(*prefix, name) for name in names] if len(node.kids) - len(names) >= 2 else []


def _class_roots(
    node: Folder, prefix: tuple[str, ...], split: str | None = None
) -> tuple[list[ClassRoot], list[tuple[str, ...]]]:
    """The roots of a folder of class folders, and the folders of masks: where class folders hold
    pictures and masks (`cat/images`, `cat/masks`), those of the pictures, and else the folder
    itself."""
    kids = node.kids
    masks = {name: [] if kid.own else mask_names(kid.kids) for name, kid in kids.items()}
    if not any(masks.values()) or not all(masks[name] or kids[name].is_flat for name in kids):
        return [ClassRoot(prefix, split)], []
    roots, found = [], []
    for name, kid in kids.items():
        pictures = [folder for folder in kid.kids if folder not in masks[name]]
        roots += [ClassRoot((*prefix, name, folder), split, name) for folder in pictures]
        roots += [ClassRoot((*prefix, name), split, name)] if kid.is_flat else []
        found += [(*prefix, name, folder) for folder in masks[name]]
    return roots, found


def _others_are_unlabelled(kids: Mapping[str, Folder], splits: Mapping[str, str]) -> bool:
    """Whether beside a single split, which holds classes, there are only unlabelled pictures."""
    others = [name for name in kids if name not in splits]
    return (
        bool(others)
        and not any(kids[name].is_flat for name in splits)
        and all(map(sounds_unlabelled, others))
    )


def _split_layout(
    node: Folder, prefix: tuple[str, ...], splits: Mapping[str, str], where: str
) -> Layout:
    kids = node.kids
    trains = [name for name in splits if splits[name] == "train"]
    listed = ", ".join(sorted(kids))
    if not trains:
        raise PipelineError(
            f"{where} looks already split, but into the folders {listed}, of which none is train; "
            "add it, or give class folders only"
        )
    if all(kids[name].is_flat for name in trains):
        both = split_and_label_pattern(kids)
        example = (
            rf"({both!r} reads split and class from these names)"
            if both
            else r"('/(?P<label>[a-z]+)\.\d+\.jpg$' reads train/cat.0.jpg, and "
            "'^(?P<label>[^/]+)/' takes these folders for the classes)"
        )
        raise PipelineError(
            f"{where}: the folders {listed} look like splits, and {trains[0]!r} holds images but "
            "no class folders, so labels may be in the names of files or in a table; "
            f"{BY_PATTERN} {example}, and split.labels names a table"
        )
    classes = {name for train in trains for name in descend(kids[train], ())[0].kids}
    check_no_masks(classes, where)
    check_no_masks_beside(classes, where)
    check_no_parts(classes, where)
    known = {spelling_key(name) for name in classes}
    roots, ignored, unlabelled, masks = [], set(), [], []
    for name, kid in kids.items():
        inner, folder = _root_with(known, kid, (*prefix, name))
        if name in splits and inner is not None:
            roots.append((inner, folder, splits[name]))
        elif name in splits or sounds_unlabelled(name) or kid.is_flat:
            check_alike_in_splits(name, kid, classes, where)
            unlabelled.append((*prefix, name))
        else:
            raise PipelineError(not_splits(where, listed, kids=kids))
    if len({split for _, _, split in roots}) < len(roots):
        raise PipelineError(not_splits(where, listed, kids=kids))
    class_roots: list[ClassRoot] = []
    for inner, folder, split in roots:
        # where there is train alone, the others are to be drawn from it
        own, own_masks = _class_roots(inner, folder, split if len(roots) > 1 else None)
        class_roots += own
        masks += own_masks
        unlabelled += (found := _unlabelled_classes(inner, folder))
        ignored |= _ignored(inner, folder) | {*found}
    return Layout(tuple(class_roots), frozenset(unlabelled), frozenset(masks), frozenset(ignored))


def _root_with(
    known: set[str], node: Folder, prefix: tuple[str, ...]
) -> tuple[Folder | None, tuple[str, ...]]:
    """Of a split's folder and its wrappers, the one that holds the most of the known classes, the
    deepest of several; None where none holds any. `known` are keys of `spelling_key`."""
    best, most = (None, prefix), 0
    while True:
        shared = len(known & {spelling_key(name) for name in node.kids})
        if shared and shared >= most:
            best, most = (node, prefix), shared
        if len(node.kids) != 1:
            return best
        name, node = next(iter(node.kids.items()))
        prefix = (*prefix, name)


def _splits_inside(kids: Mapping[str, Folder], where: str) -> dict[str, dict[str, str]] | None:
    """For class folders that each hold split folders (cat/train, cat/test): the splits by class and
    folder; None where it is not so."""
    names = {folder for kid in kids.values() for folder in kid.kids}
    splits = name_splits(names)
    if len({*splits.values()}) < 2 or {*splits} != names:
        return None
    if any(kid.is_flat or kid.own for kid in kids.values()):
        return None
    for name, kid in kids.items():
        if len({splits[folder] for folder in kid.kids}) < len(kid.kids):
            raise PipelineError(not_splits(where, ", ".join(sorted(kid.kids)), f" in {name!r}"))
    return {name: {folder: splits[folder] for folder in kid.kids} for name, kid in kids.items()}
