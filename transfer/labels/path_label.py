"""What is known of a source's images: their classes, and their splits, groups and weights."""

from dataclasses import dataclass, field
from typing import NamedTuple

from transfer.runtime.params import Params


class LabelColumns(Params):
    """The columns of the table by name; None is guessed, and weight is not used then."""

    path: str | None
    label: str | None
    split: str | None
    group: str | None
    weight: str | None


class PathLabel(NamedTuple):
    """What is known of one image: its class, and its split, group and weight in training if it has
    them."""

    class_name: str
    split: str | None = None
    group: str | None = None
    weight: float | None = None


@dataclass(frozen=True)
class PathLabels:
    """The labels of a source's files.

    labels: by path in the source. missing: what the table names and the source does not have.
    is_split: every labelled file has its split. remarks: what a person should read, one line each.
    columns: the table's columns in use, by what they are: path, label, split, group, weight.
    place: of the table, as a path.
    """

    labels: dict[str, PathLabel]
    missing: list[str] = field(default_factory=list)
    is_split: bool = False
    remarks: list[str] = field(default_factory=list)
    columns: dict[str, str] = field(default_factory=dict)
    place: str = ""
