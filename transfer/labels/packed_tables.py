"""Labels from a table that lies in the archive of the images."""

import re
from collections.abc import Sequence
from pathlib import Path

from transfer.labels.labels_by_table import label_by_table
from transfer.labels.path_label import LabelColumns, PathLabels
from transfer.labels.table_folders import folders_of_tables, read_tables
from transfer.labels.tables import SUFFIXES, read_table
from transfer.runtime.errors import PipelineError
from transfer.runtime.extras import explain_missing
from transfer.sources.reader import read_source

_TRIED, _DEEPEST = 10, 6  # tables, and folders around one
# Lists of something else: of boxes, landmarks, and splits alone.
_NO_LABELS = re.compile(r"partition|bbox|bounding|landmark|train_test_split", re.IGNORECASE)


def label_by_packed_tables(
    images: Sequence[str],
    others: Sequence[str],
    source: str,
    beside: Sequence[str],
    columns: LabelColumns,
) -> PathLabels:
    """The labels by the table in an archive that labels most of its images, or by several that
    belong together.

    Args:
        beside: paths in the archive, of text and tables. The others are as in `label_by_table`.

    Raises:
        PipelineError: no table labels the images; says why the first ones do not.
    """
    names = tables_among(beside)
    if not names:
        raise PipelineError(
            f"split.labels = {source!r} is the archive of the images, and no table lies in it; "
            "name a table"
        )
    entries = read_source(source, set(names))
    packed = {Path(source, entry.path): entry.content for entry in entries if entry.content}
    best, problems = None, []
    alone = [path for path in packed if may_be_labels(path.name)]
    for place in [*folders_of_tables([*packed], Path(source)), *alone]:
        try:
            table = read_table(place, packed) if place in packed else read_tables(place, packed)
            found = label_by_table(table, images, others, source, str(place), columns)
        except ModuleNotFoundError as error:  # Parquet, which an extra reads
            if (install := explain_missing(error)) is None:
                raise
            problems.append(f"{place} is a table of Parquet: {install}")
            continue
        except PipelineError as problem:
            problems.append(str(problem))
            continue
        if best is None or len(found.labels) > len(best.labels):
            best = found
    if best is None or len(best.labels) <= len(best.missing):
        raise PipelineError(". ".join(problems[:2]) or f"{names[0]} names no image of {source!r}")
    return best


def tables_among(paths: Sequence[str]) -> list[str]:
    """Those that may be tables of labels by their names: the first ones, the least deep first."""
    found = [
        path
        for path in sorted(paths, key=lambda path: (path.count("/"), path))
        if path.lower().endswith(SUFFIXES) and path.count("/") < _DEEPEST and may_be_labels(path)
    ]
    return found[:_TRIED]


def may_be_labels(name: str) -> bool:
    """Whether a table of this name may have labels, and is no list of boxes or splits, say."""
    return not _NO_LABELS.search(name)
