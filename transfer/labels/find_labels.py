"""Labels that are not the names of folders: from a table of paths and labels, or from a regular
expression on the path."""

from collections.abc import Sequence
from pathlib import Path

from transfer.labels.labels_by_pattern import label_by_pattern
from transfer.labels.labels_by_table import label_by_table
from transfer.labels.packed_tables import label_by_packed_tables
from transfer.labels.path_label import LabelColumns, PathLabels
from transfer.labels.table_folders import read_tables
from transfer.labels.tables import read_table
from transfer.runtime.errors import PipelineError

# DVC wants a path for a dependency: this one, which is empty, stands for no table.
NO_TABLE = "transfer/labels/no_table.csv"


def find_path_labels(
    images: Sequence[str],
    others: Sequence[str],
    source: str,
    table: str,
    columns: LabelColumns,
    pattern: str | None,
    beside: Sequence[str] = (),
) -> PathLabels | None:
    """The labels of a source's files by its table or pattern; None where folders have the labels.

    Args:
        images: paths in the source, of images that can be read. others: of all other files.
        table: `split.labels`; the source itself, if that is an archive with the table in it.
        pattern: `split.label_pattern`. beside: paths in the source, of text and tables.

    Raises:
        PipelineError: as `label_by_table` and `label_by_pattern`, or both are given.
    """
    if table == NO_TABLE:
        if named := [name for name, column in columns if column is not None]:
            raise PipelineError(
                f"split.columns.{named[0]} = {getattr(columns, named[0])!r}, but split.labels "
                "names no table; name it, or set the column back to null"
            )
        return None if pattern is None else label_by_pattern(images, pattern)
    if pattern is not None:
        raise PipelineError(
            f"split.labels = {table!r} and split.label_pattern = {pattern!r} both give labels; set "
            f"label_pattern to null, or labels to {NO_TABLE}"
        )
    if Path(table).is_file() and Path(table).resolve() == Path(source).resolve():
        return label_by_packed_tables(images, others, source, beside, columns)
    read = read_tables if Path(table).is_dir() else read_table
    return label_by_table(read(Path(table)), images, others, source, table, columns)
