"""Where a source keeps its classes, and its splits if it has any."""

import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from transfer.runtime.errors import PipelineError
from transfer.sources.box_files import describe_boxes
from transfer.sources.folder_words import (
    SPLITS,
    are_parts,
    are_pictures_and_masks,
    name_splits,
    sounds_unlabelled,
)
from transfer.sources.packed_sets import describe_packed, describe_shards
from transfer.sources.source_file import climbs, is_sidecar
from transfer.sources.table import IMAGE_NAME

_BY_PATTERN = (
    "split.label_pattern, a regular expression with the group `label`, reads labels from the path"
)


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
    unlabelled: folders of images whose labels are unknown. ignored: folders without images.
    """

    roots: tuple[ClassRoot, ...] = (ClassRoot(()),)
    unlabelled: tuple[tuple[str, ...], ...] = ()
    ignored: frozenset[tuple[str, ...]] = frozenset()

    @property
    def is_split(self) -> bool:
        """Whether the source says which image is train, validation or test."""
        return any(root.split for root in self.roots)

    @property
    def missing_splits(self) -> list[str]:
        """Of a source that is split, those that it lacks."""
        found = {root.split for root in self.roots}
        return [split for split in SPLITS if split not in found] if self.is_split else []

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
        parts = tuple(path.split("/"))
        return any(parts[: len(folder)] == folder for folder in self.unlabelled)


@dataclass
class _Folder:
    """pictures, others: how many files below it may be images, and how many cannot. own: pictures
    in it, not below."""

    folders: dict[str, "_Folder"] = field(default_factory=dict)
    pictures: int = 0
    others: int = 0
    own: int = 0

    @property
    def kids(self) -> dict[str, "_Folder"]:
        """The folders in it, but for those that hold files and no picture."""
        return {
            name: folder
            for name, folder in self.folders.items()
            if folder.pictures or not folder.others
        }

    @property
    def is_flat(self) -> bool:
        return not self.kids


def find_layout(paths: Iterable[str], source: Path | str) -> Layout:
    """Find the class folders among the paths of files and folders (the latter end in `/`).

    A folder that is alone at its level and holds folders is a wrapper and is looked through. The
    folders on one level are splits if their names say so; then each may have wrappers of its own.
    Class folders that hold split folders are read too. `source` is for messages.

    Raises:
        PipelineError: no folders at all; splits that are not train and others, each once; labels
            that are not in the names of folders; pictures with boxes or masks instead of classes;
            or it is ambiguous what is a class.
    """
    paths, where = list(paths), f"split.source = {str(source)!r}"
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
    node, prefix = _descend(_tree(paths), ())
    kids = node.kids
    if not kids:
        raise PipelineError(
            f"{where} holds no class folders; put each class's images in a folder of its own, or "
            f"have labels read from a table (split.labels) or from the paths: {_BY_PATTERN}"
        )
    splits = name_splits(kids)
    if len({*splits.values()}) >= 2 or (splits and _others_are_unlabelled(kids, splits)):
        return _split_layout(node, prefix, splits, where)
    if (inner := _splits_inside(kids, where)) is not None:
        roots = [
            ClassRoot((*prefix, name, folder), split, name)
            for name, found in inner.items()
            for folder, split in found.items()
        ]
        return Layout(tuple(roots))
    _check_no_masks(kids, where)
    _check_unambiguous(kids, splits, where)
    _check_no_parts(kids, where)
    return Layout((ClassRoot(prefix),), ignored=_ignored(node, prefix))


def _tree(paths: Iterable[str]) -> _Folder:
    root = _Folder()
    for path in paths:
        if climbs(path):
            continue
        *folders, name = path.split("/")
        is_other = is_sidecar(name)
        node = root
        for folder in [None, *filter(None, folders)]:
            node = node if folder is None else node.folders.setdefault(folder, _Folder())
            node.pictures += bool(name) and not is_other
            node.others += bool(name) and is_other
        node.own += bool(name) and not is_other
    return root


def _descend(node: _Folder, prefix: tuple[str, ...]) -> tuple[_Folder, tuple[str, ...]]:
    """Through folders that are alone and hold folders."""
    while len(kids := node.kids) == 1 and not (kid := next(iter(kids.values()))).is_flat:
        node, prefix = kid, (*prefix, next(iter(kids)))
    return node, prefix


def _ignored(node: _Folder, prefix: tuple[str, ...]) -> frozenset[tuple[str, ...]]:
    return frozenset((*prefix, name) for name in node.folders.keys() - node.kids.keys())


def _others_are_unlabelled(kids: Mapping[str, _Folder], splits: Mapping[str, str]) -> bool:
    """Whether beside a single split, which holds classes, there are only unlabelled pictures."""
    others = [name for name in kids if name not in splits]
    return (
        bool(others)
        and not any(kids[name].is_flat for name in splits)
        and all(map(sounds_unlabelled, others))
    )


def _split_layout(
    node: _Folder, prefix: tuple[str, ...], splits: Mapping[str, str], where: str
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
        raise PipelineError(
            f"{where}: the folders {listed} look like splits, and {trains[0]!r} holds images but "
            "no class folders, so labels may be in the names of files or in a table; "
            f"{_BY_PATTERN} "
            r"('/(?P<label>[a-z]+)\.\d+\.jpg$' reads train/cat.0.jpg), and split.labels names a "
            "table"
        )
    known = {name for train in trains for name in _descend(kids[train], ())[0].kids}
    _check_no_masks(known, where)
    _check_no_parts(known, where)
    roots, ignored, unlabelled = [], set(), []
    for name, kid in kids.items():
        inner, folder = _root_with(known, kid, (*prefix, name))
        if name in splits and inner is not None:
            roots.append(ClassRoot(folder, splits[name]))
            ignored |= _ignored(inner, folder)
        elif name in splits or sounds_unlabelled(name) or kid.is_flat:
            unlabelled.append((*prefix, name))
        else:
            raise PipelineError(_not_splits(where, listed))
    if len({root.split for root in roots}) < len(roots):
        raise PipelineError(_not_splits(where, listed))
    if [root.split for root in roots] == ["train"]:  # the others are to be drawn from it
        roots = [ClassRoot(roots[0].folder)]
    return Layout(tuple(roots), tuple(unlabelled), frozenset(ignored))


def _not_splits(where: str, listed: str, inside: str = "") -> str:
    return (
        f"{where} looks already split, but{inside} into the folders {listed}; it needs train, "
        "validation (or val, valid, dev) and test, each once and nothing beside them, or class "
        "folders only; move the other folders out of it, or give the one that is whole"
    )


def _root_with(
    known: set[str], node: _Folder, prefix: tuple[str, ...]
) -> tuple[_Folder | None, tuple[str, ...]]:
    """Of a split's folder and its wrappers, the one that holds the most of the known classes, the
    deepest of several; None where none holds any."""
    best, most = (None, prefix), 0
    while True:
        shared = len(known & node.kids.keys())
        if shared and shared >= most:
            best, most = (node, prefix), shared
        if len(node.kids) != 1:
            return best
        name, node = next(iter(node.kids.items()))
        prefix = (*prefix, name)


def _splits_inside(kids: Mapping[str, _Folder], where: str) -> dict[str, dict[str, str]] | None:
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
            raise PipelineError(_not_splits(where, ", ".join(sorted(kid.kids)), f" in {name!r}"))
    return {name: {folder: splits[folder] for folder in kid.kids} for name, kid in kids.items()}


def _check_unambiguous(kids: Mapping[str, _Folder], splits: Mapping[str, str], where: str) -> None:
    """Refuse folders that may be splits, or parts, with the classes in them."""
    if len(kids) == 1 and splits:
        raise PipelineError(
            f"{where} holds one folder, {next(iter(kids))!r}, without class folders in it; labels "
            f"may be in the names of files or in a table: {_BY_PATTERN}, and split.labels names a "
            "table"
        )
    inner = [{*kid.kids} for kid in kids.values()]
    common = sorted(set.intersection(*inner))
    same = len(kids) > 1 and len(common) >= 2 and 2 * len(common) >= max(map(len, inner))
    lone = [name for name in splits if len(kids[name].kids) >= 2 and not kids[name].own]
    if not same and not (lone and len(kids) > 1):
        return
    outer = ", ".join(map(repr, _some(sorted(kids))))
    if same:
        what = f"each hold the folders {', '.join(map(repr, _some(common)))}"
    else:
        what = f"lie beside each other, and {lone[0]!r} is the name of a split and holds folders"
    raise PipelineError(
        f"{where}: the folders {outer} {what}: the inner or the outer ones may be the classes; "
        "name the outer ones train, validation and test, or set split.label_pattern "
        r"('^(?P<label>[^/]+)/' takes the outer ones for classes, '/(?P<label>[^/]+)/' the inner "
        "ones)"
    )


def _check_no_masks(names: Collection[str], where: str) -> None:
    if are_pictures_and_masks(names):
        raise PipelineError(
            f"{where}: the folders {_listed(names)} are pictures and their masks or labels by "
            "their names, as the segmentation of images has them, and no classes. Here each image "
            "has one class: name the folder of the pictures alone as split.source; if that has no "
            "class folders, name their labels by split.labels or split.label_pattern"
        )


def _check_no_parts(names: Collection[str], where: str) -> None:
    if are_parts(names):
        raise PipelineError(
            f"{where}: the folders {_listed(names)} are parts of one set by their names, and no "
            "classes; labels may be in a table (split.labels) or in the paths "
            "(split.label_pattern; '^(?P<label>[^/]+)/' takes these folders for classes all the "
            "same)"
        )


def _listed(names: Collection[str]) -> str:
    return ", ".join(map(repr, _some(sorted(names))))


def _some(names: list[str]) -> Iterator[str]:
    yield from names[:4]
    if len(names) > 4:
        yield "..."
