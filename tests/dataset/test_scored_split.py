"""Which split the models are scored on, and that files and titles of a test split say nothing."""

import pandas as pd
import pytest

from transfer.dataset.scored_split import (
    OPTIMISTIC,
    cautions,
    scored_split,
    split_field,
    split_of,
    title_note,
)


@pytest.mark.parametrize(
    ("splits", "expected"),
    [
        (["train", "validation", "test", "unused"], "test"),
        (["train", "validation"], "validation"),
        (["train", "validation", "unused"], "validation"),
    ],
)
def test_validation_is_scored_only_if_there_is_no_test_image(splits, expected):
    assert scored_split(pd.DataFrame({"split": splits})) == expected


def test_nothing_is_added_for_a_test_split():
    assert split_field("test") == {}
    assert title_note("test") == ""
    assert cautions("test") == []
    assert split_of({"accuracy": 0.5}) == "test"


def test_scores_of_validation_images_say_so_and_warn():
    assert split_field("validation") == {"split": "validation"}
    assert split_of({"accuracy": 0.5} | split_field("validation")) == "validation"
    assert title_note("validation") == " (validation images)"
    assert cautions("validation") == [OPTIMISTIC]
    assert "optimistic" in OPTIMISTIC and "split.test" in OPTIMISTIC
