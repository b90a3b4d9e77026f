"""The table that `make run` ends with says which images its accuracies are of."""

import pytest

from transfer.commands.run import scored_by, summarise
from transfer.dataset.scored_split import split_field

PIPELINE = {"train": {"deps": [], "outs": ["models/head"]}}


@pytest.mark.parametrize(
    ("split", "title"),
    [
        ("test", "accuracy (95 % interval)"),
        ("validation", "accuracy (95 % interval) (validation images)"),
    ],
)
def test_accuracies_of_validation_images_are_called_so(split, title):
    scores = {"accuracy": 0.5, "accuracy_low": 0.25, "accuracy_high": 0.75}
    metrics = {"head": split_field(split) | scores}
    assert scored_by(metrics) == split
    table = summarise(PIPELINE, {"train": 2.0}, metrics)
    assert table[title].tolist() == ["0.500 (0.250 to 0.750)"]
    assert table["run now"].tolist() == ["train"]
