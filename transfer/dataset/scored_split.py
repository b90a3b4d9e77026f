"""Which images the models are scored on, and how that is said: the test images, or the validation
images if there are no test images.

What is said of test images is said in the texts themselves. For validation images the functions
below add it, to files, titles and texts alike.
"""

import typing
from collections.abc import Mapping

if typing.TYPE_CHECKING:  # pandas takes its time, which a command that prints a word should not
    import pandas as pd

TEST, VALIDATION = "test", "validation"
FIELD = "split"  # of metrics and tables
OPTIMISTIC = (
    "There are no test images (split.test is 0), so all scores are those of the validation images, "
    "which also chose each network's epoch, the baselines' settings, the temperatures and the "
    "thresholds: they are optimistic. For scores that are not, give split.test a fraction, or keep "
    "test images of your own (docs/your-data.md says how to score them)."
)


def remarks_without_test(*, has_test: bool) -> list[str]:
    """What a `split.test` of 0 comes to: no test images, or those of a source that has its own."""
    if has_test:
        return ["split.test is 0, but the source has test images of its own, which are used"]
    return [
        f"no test images, since split.test is 0: the models are scored on the {VALIDATION} images, "
        "which also choose their epochs and temperatures, so the scores will be optimistic"
    ]


def scored_split(manifest: "pd.DataFrame") -> str:
    """The split whose images all models are scored on: `test`, or `validation` if the manifest has
    no test images."""
    return TEST if (manifest["split"] == TEST).any() else VALIDATION


def split_field(split: str) -> dict[str, str]:
    """The field that names the scored split in metrics, and the column in tables: none for the test
    split, which a file without it is of."""
    return {} if split == TEST else {FIELD: split}


def split_of(fields: Mapping[str, object]) -> object:
    """The scored split of metrics that `split_field` has marked."""
    return fields.get(FIELD, TEST)


def title_note(split: str) -> str:
    """What the title of a figure or a table gets behind it: nothing for the test split."""
    return "" if split == TEST else f" ({split} images)"


def cautions(split: str) -> list[str]:
    """What has to be said beside scores: that validation images flatter them, and what to do;
    nothing for the test split."""
    return [] if split == TEST else [OPTIMISTIC]
