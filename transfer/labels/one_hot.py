"""Tables with a column for each class, of which 1 stands in one: as one column of labels."""

from collections.abc import Collection

from transfer.labels.row_files import first_few
from transfer.labels.table import Table
from transfer.runtime.errors import PipelineError

VALUES = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "false": 0, "true": 1, "no": 0, "yes": 1}


def with_one_hot_labels(
    table: Table, others: Collection[str], where: str
) -> tuple[Table, str] | None:
    """The table with one more column, which has the name of the column in which each row has a 1,
    and that column's name; None where fewer than two columns are of 0 and 1.

    Args:
        others: columns that are something else, the path say.

    Raises:
        PipelineError: a row has a 1 in several of them.
    """
    found = {
        name: [VALUES[cell.lower()] for cell in cells if cell]
        for name, cells in table.columns.items()
        if name not in others and cells and all(cell and cell.lower() in VALUES for cell in cells)
    }
    if len(found) < 2:
        return None
    labels: list[str | None] = []
    for line, row in zip(table.lines, zip(*found.values(), strict=True), strict=True):
        names = [name for name, value in zip(found, row, strict=True) if value]
        if len(names) > 1:
            raise PipelineError(
                f"{where}, line {line}: 1 stands in several columns, {first_few(names)}: several "
                "labels. A model of this pipeline gives each image one class: keep one 1 in each "
                "row, or name the column of the label in split.columns.label"
            )
        labels.append(names[0] if names else None)
    column = f"{first_few([*found])} (columns of 0 and 1)"
    return Table(table.columns | {column: labels}, table.lines, table.form), column
