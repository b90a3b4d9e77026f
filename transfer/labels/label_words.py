"""Reads labels and splits in cells and paths, brings them to one spelling, and words remarks on
them."""

import json
import os.path
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence

from transfer.labels.folder_words import name_splits
from transfer.labels.listing import first_few
from transfer.runtime.errors import PipelineError

_MISSING = {"NaN", "nan", "<NA>", "#N/A", "N/A", "n/a", "NA", "?", "null", "NULL"}
_WHOLE = re.compile(r"\d+\.0+")
_BOXED = re.compile(r"((?P<label>[^\s\d]\S*)(\s+\d+){4}\s*)+")  # ImageNet's: class, four numbers
_DECIMAL = re.compile(r"[-+]?\d*[.,]\d*[1-9]\d*(e[-+]?\d+)?", re.IGNORECASE)
_DIVIDERS = "|;,"  # of several labels in a cell
# Keys of a label that is an object: Azure's and others.
_NAMES_IN_OBJECTS = ("tagName", "name", "label", "displayName", "class")
_BOX_KEYS = {"bbox", "bboxes", "boxes", "segmentation", "polygon"}
_NO_SPLIT = {"unassigned", ""}  # Vertex AI divides these itself
_PLURAL = {"names": "name", "has": "have", "repeats": "repeat", "is": "are", "does": "do"}


def single_label(cell: str | None, where: str, line: int) -> str | None:
    """The one label of a cell; Label Studio and others write choices as JSON, pandas whole numbers
    as 1.0 and what is missing as NaN."""
    if not cell or cell in _MISSING:
        return None
    if _WHOLE.fullmatch(cell):
        return cell.partition(".")[0]
    if _BOXED.fullmatch(cell):
        cell = json.dumps(sorted({*cell.split()[::5]}))
    if cell[0] not in "[{":
        return cell
    try:
        content = json.loads(cell)
    except (ValueError, RecursionError):
        return cell
    if isinstance(content, dict):
        content = content.get("choices", content)
    if isinstance(content, dict) and _BOX_KEYS & {*content}:
        raise PipelineError(
            f"{where}, line {line}: {cell[:80]!r} has boxes or outlines of objects, as data for "
            "detection has; here each image has one class: cut the objects out into folders of "
            "their classes"
        )
    if isinstance(content, dict):
        named = [content[name] for name in _NAMES_IN_OBJECTS if isinstance(content.get(name), str)]
        alone = [*content.values()] if len(content) == 1 else []
        named += [value for value in alone if isinstance(value, str)]
        content = named[0] if named else content
    if isinstance(content, dict) or isinstance(content, list) and len(content) > 1:
        raise PipelineError(
            f"{where}, line {line}: {cell[:80]!r} is more than one label; a model of this pipeline "
            "gives each image one class: keep one label in each row"
        )
    return (str(content[0]) if content else None) if isinstance(content, list) else str(content)


def check_single_labels(labels: Sequence[str], where: str) -> None:
    """Refuse cells that hold several labels, divided by a bar, a semicolon or a comma. Parts are
    labels if they occur in other cells too.

    Raises:
        PipelineError: one does.
    """
    counts = Counter(labels)
    for divider in _DIVIDERS:
        parts = {label: {part.strip() for part in label.split(divider)} for label in counts}
        occurs = Counter(part for own in parts.values() for part in own)
        several = [name for name, own in parts.items() if len(own) > 1]
        shared = [name for name in several if any(occurs[part] > 1 for part in parts[name])]
        if shared and 2 * len(shared) >= len(several):
            raise PipelineError(
                f"{where}: {shared[0]!r} is several labels, divided by {divider!r} "
                f"({sum(counts[name] for name in several)} rows have such). A model of this "
                "pipeline gives each image one class: keep one label in each row"
            )


def check_no_measures(labels: Collection[str], where: str) -> None:
    """Refuse labels of which most are numbers with decimals: these are measured, and no classes.

    Raises:
        PipelineError: they are.
    """
    decimals = sorted(label for label in labels if _DECIMAL.fullmatch(label))
    if 2 * len(decimals) > len(labels):
        raise PipelineError(
            f"{where}: its values are numbers with decimals, {decimals[0]!r} say, and no classes; "
            "write ranges of them as words, or name another column (split.columns.label)"
        )


def words_in_tags(column: str, names: Collection[str]) -> list[str]:
    """A remark where a column of tags, or labels, has words with spaces between that recur."""
    recurring = Counter(word for name in names for word in name.split())
    several = [name for name in sorted(names) if " " in name]
    shared = [name for name in several if any(recurring[word] > 1 for word in name.split())]
    if not column.lower().endswith("s") or 2 * len(shared) <= len(names):
        return []
    return [
        f"column {column!r} may have several labels in a cell, {shared[0]!r} say: here each "
        "combination is a class of its own"
    ]


def one_spelling(labels: Sequence[str]) -> tuple[list[str], list[str]]:
    """The labels in one Unicode form with single spaces; remarks where that joined two, and where
    some differ by case alone, which `split` decides on."""
    plain = [" ".join(unicodedata.normalize("NFC", label).split()) for label in labels]
    written: dict[str, Counter[str]] = defaultdict(Counter)
    for name, label in zip(plain, labels, strict=True):
        written[name][label] += 1
    remarks = [
        "labels that differ by spaces or Unicode form alone are one: "
        + ", ".join(f"{label!r} ({count})" for label, count in sorted(written[name].items()))
        for name in sorted(written)
        if len(written[name]) > 1
    ]
    counts = Counter(plain)
    folded: dict[str, list[str]] = {}
    for name in sorted(counts):
        folded.setdefault(name.casefold(), []).append(name)
    shown = [
        ", ".join(f"{name!r} ({counts[name]})" for name in names)
        for names in folded.values()
        if len(names) > 1
    ]
    if shown:
        remarks.append(
            f"labels that differ by upper and lower case alone: "
            f"{first_few(shown, separator='; ')}; split.merge_case says whether they are one"
        )
    return plain, remarks


def splits_named(names: Sequence[str | None], where: str, *, must_be: bool) -> list[str | None]:
    """train, validation or test for each row, None where it says nothing.

    With `must_be`, a name that is no split is an error; without, it makes all of them None, since
    the column was guessed.
    """
    plain = [(name or "").strip() for name in names]
    splits = name_splits({*plain})
    unknown = {name for name in plain if name not in splits and name.lower() not in _NO_SPLIT}
    if unknown and not must_be:
        return [None] * len(plain)
    if unknown:
        raise PipelineError(
            f"{where}: {first_few(repr(name) for name in sorted(unknown))} is no split; write "
            "train, validation (or val, dev) or test"
        )
    return [splits.get(name) for name in plain]


def splits_by_folder(paths: Collection[str]) -> dict[str, str]:
    """The split of each path by its first folder below those that all share, if all lie in folders
    of two or more splits."""
    parts = {path: path.split("/")[:-1] for path in paths}
    shared = len(os.path.commonprefix([*parts.values()]))
    folders = {path: own[shared] for path, own in parts.items() if len(own) > shared}
    splits = name_splits({*folders.values()})
    found = {path: splits.get(folders.get(path, "")) for path in paths}
    return found if all(found.values()) and len({*found.values()}) >= 2 else {}


def counted(items: Sequence[str], does: str, what: str) -> list[str]:
    """A remark with the number of items and the first of them; none without items.

    Args:
        does: the rest of the sentence, in the singular. what: the noun, in the singular.
    """
    if not items:
        return []
    if len(items) == 1:
        return [f"1 {what} {does}: {items[0]}"]
    plural = re.sub(r"\b(names|has|repeats|is|does)\b", lambda verb: _PLURAL[verb[0]], does)
    return [f"{len(items):,} {what}s {plural}: {first_few(items)}"]
