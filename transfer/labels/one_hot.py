"""Tables with a column for each class and a 1 in one of them: made into one column of labels."""

from collections.abc import Collection, Mapping

from transfer.labels.listing import first_few
from transfer.labels.table import Table
from transfer.runtime.errors import PipelineError

VALUES = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "false": 0, "true": 1, "no": 0, "yes": 1}


def _zeros_and_ones(cells: list[str | None]) -> list[int]:
    """The cells of a column of 0 and 1, of -1 and 1, or of 1 and nothing, as 0 and 1; empty for any
    other column."""
    values = {cell and cell.lower().removesuffix(".0") for cell in cells}
    if None not in values and values <= {*VALUES}:
        return [VALUES[cell.lower()] for cell in cells if cell]
    if values in ({"1", "-1"}, {"1", None}):
        return [int(bool(cell) and cell.removesuffix(".0") == "1") for cell in cells]
    return []


def check_no_shares(columns: Mapping[str, list[str | None]], where: str) -> None:
    """Refuse several columns that all have numbers between 0 and 1: these are probabilities, or
    shares of votes.

    Raises:
        PipelineError: they have.
    """
    shares = [name for name, cells in columns.items() if _are_shares(cells)]
    if len(shares) == len(columns) > 1:
        example = next(cell for cell in columns[shares[0]] if cell and not cell.isdigit())
        raise PipelineError(
            f"{where}: the columns {first_few(map(repr, shares))} have numbers between 0 and 1, "
            f"{example} say: probabilities, or shares of votes, and no classes. Write the name of "
            "the highest into a column of its own, with pandas say: table['label'] = "
            "table[columns].idxmax(axis=1), and name that in split.columns.label"
        )


def _are_shares(cells: list[str | None]) -> bool:
    full = [cell for cell in cells if cell]
    try:
        numbers = [float(cell) for cell in full]
    except ValueError:
        return False
    return (
        len(full) == len(cells) > 0
        and all(0 <= number <= 1 for number in numbers)
        and any(number % 1 for number in numbers)
    )


def with_one_hot_labels(
    table: Table, others: Collection[str], where: str
) -> tuple[Table, str] | None:
    """The table with one more column, which has the name of the column in which each row has a 1,
    and that column's name; None where fewer than two columns are of 0 and 1 (or of -1 and 1, or of
    1 and nothing).

    Args:
        others: columns that are something else, the path say.

    Raises:
        PipelineError: a row has a 1 in several of them.
    """
    found = {
        name: values
        for name, cells in table.columns.items()
        if name not in others and (values := _zeros_and_ones(cells))
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
    column = f"{first_few(found)} (columns of 0 and 1)"
    return Table(table.columns | {column: labels}, table.lines, table.form), column
