"""Options beside the defaults: what is compared with what, and the paired statistics by hand."""

import numpy as np
import pandas as pd
import pytest

from benchmarks.training_options import as_markdown, compare, parse, sections_for
from transfer.commands.sweep.trainings import paired


def test_changes_are_read_by_section():
    parsed = parse(
        [
            "finetune.ema_momentum=0.9",
            "finetune.unfreeze=[{from_layer: a, epoch: 2}]",
            "train_head.checkpoint=last",
        ]
    )
    assert parsed == {
        "finetune": {"ema_momentum": 0.9, "unfreeze": [{"from_layer": "a", "epoch": 2}]},
        "train_head": {"checkpoint": "last"},
    }


@pytest.mark.parametrize(
    "change",
    ["finetune.ema_momentum", "ema_momentum=0.9", "augment.views=3", "finetune.ema_momentum="],
)
def test_what_is_no_change_of_a_training_is_named(change):
    with pytest.raises(SystemExit, match=f"--set {change}: give SECTION.KEY=VALUE"):
        parse([change])


def test_fine_tuning_needs_the_default_augmented_model():
    assert sections_for({"a": {"finetune": {}}, "b": {"train_head": {}}}) == [
        "train_head",
        "train_augmented",
        "finetune",
    ]
    assert sections_for({"b": {"train_head": {}}}) == ["train_head"]


def test_the_interval_is_students_of_the_differences():
    """Differences 1, 2, 3: mean 2, standard error 1 / sqrt(3), t(0.975, 2) = 4.3027."""
    mean, low, high, p = paired(
        pd.Series([5.0, 3.0, 4.0], [2, 0, 1]), pd.Series([2.0, 2.0, 2.0], [0, 1, 2])
    )
    assert mean == 2
    assert [low, high] == pytest.approx([2 - 4.3027 / 3**0.5, 2 + 4.3027 / 3**0.5], abs=1e-4)
    assert p == pytest.approx(0.0742, abs=1e-4)


def test_a_difference_that_never_varies_needs_no_test():
    assert paired(pd.Series([1.0, 2.0]), pd.Series([1.0, 2.0])) == (0, 0, 0, 1)
    assert paired(pd.Series([2.0, 3.0]), pd.Series([1.0, 2.0])) == (1, 1, 1, 0)


def test_the_table_pairs_each_setting_with_its_models_defaults():
    rng = np.random.default_rng(0)
    rows = pd.DataFrame(
        [
            {
                "setting": setting,
                "model": model,
                "seed": seed,
                "validation accuracy": base + gain,
                "validation loss": rng.random(),
                "test accuracy": 0.5,
            }
            for seed, base in enumerate((0.7, 0.8, 0.9))
            for setting, model, gain in (
                ("defaults", "finetuned", 0),
                ("defaults", "head", 0.05),
                ("a=1", "finetuned", 0.01 * seed),
            )
        ]
    )
    compared = compare(rows)
    assert compared[["model", "setting"]].to_numpy().tolist() == [
        ["head", "defaults"],
        ["finetuned", "defaults"],
        ["finetuned", "a=1"],
    ]
    assert compared["validation accuracy difference"].tolist()[2] == pytest.approx(0.01)
    assert compared["p_holm"].tolist()[2] == compared["p"].tolist()[2]
    assert "| finetuned | `a=1` | 0.810: +0.010 (-0.015 to +0.035) |" in as_markdown(compared)
