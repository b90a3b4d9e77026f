"""The audit's issue table: one row per image and issue, in data/audit/issues.csv."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from transfer.runtime.files import write_csv

ISSUES = Path("data/audit/issues.csv")
KINDS = (
    "near_duplicate_in_other_class",
    "near_duplicate_in_other_split",
    "label_error",
    "outlier",
    "dark",
    "light",
    "blurry",
    "low_information",
    "odd_aspect_ratio",
    "odd_size",
)


class Issue(NamedTuple):
    """One issue of one image.

    row: of the image among those audited, from 0.
    kind: one of KINDS.
    score: 0 to 1, lower is worse, as cleanlab and cleanvision have it; comparable within a kind
        only.
    detail: for a person, why the image has the issue: the class it looks like, the path of which it
        is a near-copy, its size.
    """

    row: int
    kind: str
    score: float
    detail: str


def count_issues(issues: Iterable[Issue]) -> dict[str, int]:
    """How many images have each kind of issue, zeros included, in the order of KINDS."""
    counts = Counter(issue.kind for issue in issues)
    return {kind: counts[kind] for kind in KINDS}


def write_issues(issues: Iterable[Issue], images: pd.DataFrame) -> None:
    """Write path, split, class_name, issue, score and detail, ordered by kind and worst first; only
    a header if there are none.

    Args:
        images: the rows of the manifest that were audited, numbered from 0.
    """
    about = list(images[["path", "split", "class_name"]].itertuples(index=False, name=None))
    rows = [(*about[issue.row], issue.kind, f"{issue.score:.6f}", issue.detail) for issue in issues]
    # six decimals of 0 to 1 sort as text
    rows.sort(key=lambda row: (KINDS.index(row[3]), row[4], row[0]))
    write_csv(ISSUES, ["path", "split", "class_name", "issue", "score", "detail"], rows)
