"""Candidates for presets: how they are read, what is chosen, and whether stages accept them."""

import pandas as pd
import pytest
import yaml

from benchmarks.presets import (
    CANDIDATES,
    compare,
    in_sections,
    main,
    merged,
    read_candidates,
    summarise,
)
from benchmarks.seeds import accuracy_table
from stages.train_scratch import TrainScratchParams
from tests.helpers.tiny_sources import REPOSITORY
from transfer.augmentation.warp import AugmentParams
from transfer.backbones.registry import BackboneParams
from transfer.commands.sweep.trainings import TRAININGS
from transfer.commands.use.presets import preset_names, read_preset
from transfer.decoding.rgb import DecodeParams
from transfer.runtime.params import read_params

SHIPPED = REPOSITORY / "docs/presets"
PRESETS = {name: in_sections(read_preset(name, SHIPPED)) for name in preset_names(SHIPPED)}
KINDS = {
    "backbone": BackboneParams,
    "decode": DecodeParams,
    "augment": AugmentParams,
    "train_scratch": TrainScratchParams,
    **{section: training.params for section, training in TRAININGS.items()},
}


def test_stages_accept_all_presets_and_candidates():
    params = read_params(REPOSITORY / "params.yaml")
    entries = yaml.safe_load((REPOSITORY / CANDIDATES).read_text(encoding="utf-8"))
    candidates = read_candidates(entries, PRESETS)
    assert candidates.keys() == entries.keys() | PRESETS.keys()
    for changes in candidates.values():
        assert changes.keys() <= KINDS.keys()
        for section, values in merged(params, changes).items():
            if section in KINDS:
                KINDS[section].model_validate(values)


def test_a_candidate_has_what_it_is_like():
    entries = {
        "a": {"finetune": {"epochs": 3}},
        "b": {"like": "a", "finetune": {"mixup": 0.1}},
        "c": {"like": "modern", "augment": {"views": 2}},
    }
    presets = {
        "default": {"finetune": {"epochs": 9, "mixup": 0}},
        "modern": {"backbone": {"name": "X"}},
    }
    assert read_candidates(entries, presets) == {
        "a": {"finetune": {"epochs": 3, "mixup": 0}},
        "b": {"finetune": {"epochs": 3, "mixup": 0.1}},
        "c": {"backbone": {"name": "X"}, "augment": {"views": 2}},
        **presets,
    }
    with pytest.raises(SystemExit, match="a is like 'z', which does not precede it"):
        read_candidates({"a": {"like": "z"}}, presets)


@pytest.mark.parametrize("words", ["default modern --seeds 0", "modern modern --seeds 0 1"])
def test_what_cannot_be_compared_is_refused_before_anything_runs(monkeypatch, capsys, words):
    monkeypatch.chdir(REPOSITORY)
    monkeypatch.setattr("sys.argv", ["presets", "--compare", *words.split()])
    with pytest.raises(SystemExit):
        main()
    assert "two different candidates, and two seeds at least" in capsys.readouterr().err


def test_the_models_of_the_lowest_validation_loss_are_compared_on_the_same_seeds():
    """Differences 0.1, 0.2, 0.3: mean 0.2, standard error 0.1 / sqrt(3), t(0.975, 2) = 4.3027."""
    rows = pd.DataFrame(
        [
            {
                "candidate": candidate,
                "model": model,
                "seed": seed,
                "seconds": 1.0,
                "validation loss": loss + 0.01 * seed,
                "validation accuracy": 0.5,
                "test accuracy": accuracy + gain * seed,
            }
            for seed in range(3)
            for candidate, model, loss, accuracy, gain in (
                ("old", "head", 0.4, 0.9, 0.0),
                ("old", "finetuned", 0.3, 0.5, 0.0),
                ("new", "head", 0.1, 0.6, 0.1),
                ("new", "finetuned", 0.2, 0.1, 0.0),
            )
        ]
    )
    assert summarise(rows)["loss"].tolist() == pytest.approx([0.41, 0.31, 0.11, 0.21])
    assert compare(rows, "old", "new").splitlines() == [
        "old, finetuned: test accuracy 0.500 (0.500, 0.500, 0.500)",
        "new, head: test accuracy 0.700 (0.600, 0.700, 0.800)",
        "difference +0.200, 95 % interval -0.048 to +0.448, p = 0.074",
    ]


def test_models_that_were_not_trained_are_left_out_of_the_table_over_seeds():
    table = accuracy_table({0: {"head": 0.5, "probe": 0.7}, 1: {"head": 0.7, "probe": 0.7}})
    assert table.index.tolist() == ["head", "probe"]
    assert table["mean"].tolist() == pytest.approx([0.6, 0.7])
    assert table["sd"].tolist() == pytest.approx([0.02**0.5, 0])
