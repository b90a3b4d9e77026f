"""Folders of which it is doubtful what the classes are: refused, with what a person can do."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping

from transfer.labels.folder_tree import Folder, descend
from transfer.labels.folder_words import (
    SPLITS,
    are_parts,
    base_of_copy,
    is_called_holder,
    mask_names,
    masks_beside,
    name_splits,
    spelling_key,
)
from transfer.labels.listing import first_few
from transfer.runtime.errors import PipelineError

BY_PATTERN = (
    "split.label_pattern, a regular expression with the group `label`, reads labels from the path"
)
_OUTER_OR_INNER = (
    r"'^(?P<label>[^/]+)/' takes the outer ones for classes, "
    r"'^(?P<label>[^/]+)/(?P<group>[^/]+)/' also keeps each inner one on one side, as patients and "
    r"sessions need it, and '/(?P<label>[^/]+)/' takes the inner ones"
)


def not_splits(
    where: str, listed: str, inside: str = "", kids: Mapping[str, Folder] | None = None
) -> str:
    """A message on folders of which some are called as splits, and that are no splits.

    Args:
        listed: their names. inside: in which folder, in words. kids: the folders themselves, of
            which one may be a whole set of splits.
    """
    whole = next((name for name, kid in (kids or {}).items() if _is_split_itself(kid)), None)
    remedy = (
        f"{whole!r} is split itself, perhaps a copy: give it alone, or move it away"
        if whole is not None
        else "move the other folders out of it, or give the one that is whole"
    )
    return (
        f"{where} looks already split, but{inside} into the folders {listed}; it needs train, "
        "validation (or val, valid, dev) and test, each once and nothing beside them, or class "
        f"folders only; {remedy}"
    )


def _is_split_itself(folder: Folder) -> bool:
    """Whether it, or the folder that it wraps, holds folders of splits with folders in them."""
    kids = descend(folder, ())[0].kids
    splits = name_splits(kids)
    return (
        "train" in splits.values()
        and len({*splits.values()}) >= 2
        and not any(kids[name].is_flat for name in splits)
    )


def check_alike_in_splits(name: str, folder: Folder, classes: Collection[str], where: str) -> None:
    """Refuse a folder beside train that holds folders, none of them a class of train: they may be
    the same classes under other names, and would be left out."""
    kids = descend(folder, ())[0].kids
    if len(kids) < 2:
        return
    if {spelling_key(kid) for kid in kids} & {spelling_key(kid) for kid in classes}:
        raise PipelineError(
            f"{where}: the folder {name!r} holds the folders {_listed(kids)}, as train does, and "
            "is called as no split: move it out of the source, or put its images into the folders "
            "of a split"
        )
    raise PipelineError(
        f"{where}: the folder {name!r} holds the folders {_listed(kids)}, and train holds others, "
        f"{_listed(classes)}: if they are the same classes, name them alike; if {name!r} holds "
        "images without labels, move it out of the source"
    )


def check_no_copies(kids: Mapping[str, Folder], prefix: tuple[str, ...], where: str) -> None:
    """Refuse a folder beside class folders that holds the same classes again, or the same set as
    splits."""
    keys = {name: spelling_key(name) for name in kids}
    counts = Counter(keys.values())
    for name in kids:
        base = base_of_copy(name)
        if base is not None and spelling_key(base) in counts:
            raise PipelineError(
                f"{where}: the folder {name!r} is called as a copy of {base!r} beside it: move it "
                "out of the source, or rename it if it is a class"
            )
    for name, kid in kids.items():
        inner = {each: spelling_key(each) for each in kid.kids}
        again = sorted(each for each, key in inner.items() if counts[key] > (key == keys[name]))
        place = "/".join((*prefix, name))
        if len(again) >= 2 and name_splits([name]):
            raise PipelineError(
                f"{where}: the folder {place!r} is the name of a split and holds the folders "
                f"{_listed(again)}, as the folders beside it are called: put these into a folder "
                "train beside it, or move it out of the source"
            )
        if len(again) >= 2:
            raise PipelineError(
                f"{where}: the folder {place!r} holds the folders {_listed(again)}, as the folders "
                "beside it are called: a copy, perhaps, and no class; move it out of the source"
            )
        if len(kids) > 1 and _is_split_itself(kid):
            raise PipelineError(
                f"{where}: the folder {place!r} is split itself, and no class beside the others: "
                "give it alone as split.source, or move it out of the source"
            )


def check_unambiguous_inside(
    kids: Mapping[str, Folder], splits: Mapping[str, Mapping[str, str]], where: str
) -> None:
    """Refuse folders of splits that all hold the same folders (`fold_1/train/cat`): the outermost
    may be folds, and the innermost the classes.

    Args:
        splits: by the names of `kids` and of the folders in these.
    """
    inner = [
        {spelling_key(found) for found in descend(kids[name].kids[folder], ())[0].kids}
        for name, folders in splits.items()
        for folder in folders
    ]
    if len(kids) < 2 or len(common := sorted(set.intersection(*inner))) < 2:
        return
    raise PipelineError(
        f"{where}: the folders {_listed(kids)} are split, and their splits each hold the folders "
        f"{_listed(common)}: the first may be folds of one set, and the last its classes; give "
        r"one of them as split.source, or set split.label_pattern ('/(?P<label>[^/]+)/[^/]+$' "
        r"takes the innermost folders for classes, '^(?P<label>[^/]+)/(?P<split>[^/]+)/' the "
        "outermost)"
    )


def check_unambiguous(kids: Mapping[str, Folder], splits: Mapping[str, str], where: str) -> None:
    """Refuse folders that may be splits, or parts, with the classes in them."""
    if len(kids) == 1 and splits:
        raise PipelineError(
            f"{where} holds one folder, {next(iter(kids))!r}, without class folders in it; labels "
            f"may be in the names of files or in a table: {BY_PATTERN}, and split.labels names a "
            "table"
        )
    inner = [{*kid.kids} for kid in kids.values()]
    common = sorted(set.intersection(*inner))
    same = len(kids) > 1 and len(common) >= 2 and 2 * len(common) >= max(map(len, inner))
    lone = [name for name in splits if len(kids[name].kids) >= 2 and not kids[name].own]
    flat = [name for name in splits if kids[name].is_flat]
    deep = [name for name, kid in kids.items() if not kid.is_flat and not kid.own]
    if flat and deep and len(flat) + len(deep) == len(kids):
        raise PipelineError(
            f"{where}: {flat[0]!r} is the name of a split and holds images but no class folders, "
            f"and beside it {_listed(deep)} hold folders: labels may be in a table (split.labels), "
            f"or in the paths: {BY_PATTERN}; if {flat[0]!r} has no labels, move it out of the "
            "source"
        )
    held_out = [name for name in flat if splits[name] != SPLITS[0]]
    if held_out and len(kids) > 2 and not deep:
        raise PipelineError(
            f"{where}: {held_out[0]!r} is the name of a split and holds images but no class "
            f"folders, and beside it lie {_listed({*kids} - {*held_out})}: if it has images "
            "without labels, move it out of the source; if it is a class, set split.label_pattern "
            "to '^(?P<label>[^/]+)/', which takes all these folders for classes"
        )
    if not same and not (lone and len(kids) > 1):
        return
    if same:
        what = f"each hold the folders {_listed(common)}"
    else:
        what = f"lie beside each other, and {lone[0]!r} is the name of a split and holds folders"
    raise PipelineError(
        f"{where}: the folders {_listed(kids)} {what}: the inner or the outer ones may be "
        "the classes; name the outer ones train, validation and test, or set split.label_pattern "
        f"({_OUTER_OR_INNER})"
    )


def check_no_holder(kids: Mapping[str, Folder], prefix: tuple[str, ...], where: str) -> None:
    """Refuse a folder whose name means that it holds the class folders, if it lies beside others:
    `data`, with `cat` and `dog` in it, beside `results`."""
    for name, kid in kids.items() if len(kids) > 1 else ():
        if not kid.own and len(kid.kids) > 1 and is_called_holder(name, kids):
            place = "/".join((*prefix, name))
            classes = f"^{''.join(f'{re.escape(each)}/' for each in prefix)}(?P<label>[^/]+)/"
            raise PipelineError(
                f"{where}: the folder {place!r} holds the folders {_listed(kid.kids)}, which may "
                f"be the classes, and beside it lie {_listed({*kids} - {name})}: give {place!r} "
                "alone as split.source, or, if these are the classes, set split.label_pattern to "
                f"'{classes}'"
            )


def check_no_masks_beside(names: Collection[str], where: str) -> None:
    """Refuse a folder that is called as the masks of a class beside it."""
    for masks, pictures in masks_beside(names).items():
        raise PipelineError(
            f"{where}: the folder {masks!r} is called as the masks of {pictures!r} beside it: "
            "move the masks out of the source, or, if it is a class, rename it or set "
            "split.label_pattern to '^(?P<label>[^/]+)/'"
        )


def check_no_initials(kids: Mapping[str, Folder], where: str) -> None:
    """Refuse folders of one letter that hold the folders that begin with it, as an index has them:
    `a/abbey`, `b/bar`."""
    initials = [
        len(name) == 1
        and not kid.own
        and not kid.is_flat
        and all(inner.casefold().startswith(name.casefold()) for inner in kid.kids)
        for name, kid in kids.items()
    ]
    if len(kids) > 1 and all(initials):
        raise PipelineError(
            f"{where}: the folders {_listed(kids)} hold the folders that begin with these letters, "
            "and are no classes: set split.label_pattern to '/(?P<label>[^/]+)/[^/]+$', which "
            "takes the innermost folders for classes"
        )


def check_no_masks(names: Collection[str], where: str) -> None:
    if masks := mask_names(names):
        pictures = _listed({*names} - {*masks})
        raise PipelineError(
            f"{where}: the folders {_listed(names)} are pictures and their masks or labels by "
            "their names, as the segmentation of images has them, and no classes. Here each image "
            f"has one class: name the folder of the pictures alone, {pictures}, as split.source; "
            "if that has no class folders, name their labels by split.labels or split.label_pattern"
        )


def check_no_parts(names: Collection[str], where: str) -> None:
    if are_parts(names):
        raise PipelineError(
            f"{where}: the folders {_listed(names)} are parts of one set by their names, and no "
            "classes; labels may be in a table (split.labels) or in the paths "
            "(split.label_pattern; '^(?P<label>[^/]+)/' takes these folders for classes all the "
            "same)"
        )


def _listed(names: Iterable[str]) -> str:
    return first_few(map(repr, sorted(names)), 4)
