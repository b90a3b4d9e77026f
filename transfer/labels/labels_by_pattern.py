"""Labels by a regular expression on the paths of images."""

import re
from collections.abc import Sequence

from transfer.labels.folder_words import name_splits
from transfer.labels.label_words import counted, one_spelling, splits_by_folder, splits_named
from transfer.labels.path_label import PathLabel, PathLabels
from transfer.runtime.errors import PipelineError


def label_by_pattern(images: Sequence[str], pattern: str) -> PathLabels:
    """The labels that the group `label` of a regular expression matches in the paths; groups named
    `split` and `group` are used too. Without the group `split`, the folders of all images are the
    splits if their names say so.

    Raises:
        PipelineError: no path matches, a split is none, or only some images have one.
    """
    expression = compile_pattern(pattern)
    matches = [(path, expression.search(path)) for path in images]
    found = [(path, match.groupdict()) for path, match in matches if match and match["label"]]
    if not found:
        example = f", the first being {images[0]!r}" if images else ""
        raise PipelineError(
            f"split.label_pattern = {pattern!r} matches no path of the {len(images)} images"
            f"{example}; correct the expression"
        )
    where = f"split.label_pattern = {pattern!r}"
    spelled, remarks = one_spelling([groups["label"] for _, groups in found])
    splits = splits_named([groups.get("split") for _, groups in found], where, must_be=True)
    if "split" not in expression.groupindex and not name_splits({*spelled}):
        by_folder = splits_by_folder([path for path, _ in found])
        splits = [by_folder.get(path) for path, _ in found]
    if any(splits) and not all(splits):
        first = found[splits.index(None)][0]
        raise PipelineError(
            f"{where}: {splits.count(None)} of {len(splits)} images have no split, the first being "
            f"{first!r}; let the group split match in all paths, or leave it out of the expression "
            "to have the images divided"
        )
    labels = {
        path: PathLabel(label, split, groups.get("group") or None)
        for (path, groups), label, split in zip(found, spelled, splits, strict=True)
    }
    of_folders = "split" not in expression.groupindex and all(splits)
    without = [path for path, match in matches if not (match and match["label"])]
    return PathLabels(
        labels,
        is_split=all(splits),
        remarks=[
            f"labels by split.label_pattern: {len(found)} of {len(images)} images match",
            *(["the folders train, validation and test are the splits"] if of_folders else []),
            *counted(without, "does not match it and is left out", "image"),
            *remarks,
        ],
    )


def compile_pattern(pattern: str) -> re.Pattern:
    """The regular expression of `split.label_pattern`.

    Raises:
        ValueError: it is none, or has no group named `label`, or one of another name than
            `label`, `split` and `group`.
    """
    try:
        expression = re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"not a regular expression: {error}") from None
    if "label" not in expression.groupindex:
        raise ValueError(
            r"no group is named label; write (?P<label>...) around the part of the path that is "
            r"the class, such as '/(?P<label>[a-z]+)\.\d+\.jpg$'"
        )
    if unknown := {*expression.groupindex} - {"label", "split", "group"}:
        raise ValueError(
            f"a group is named {sorted(unknown)[0]!r}; only label, split and group mean something"
        )
    return expression
