"""What `predict` refuses to work with: models, temperatures, features and parameters that are
missing or do not belong together."""

import shutil

import pandas as pd
import pytest
import yaml

from transfer.classifiers.head import build_head
from transfer.classifiers.names import HISTORY
from transfer.classifiers.saved import Classifier, save_classifier
from transfer.classifiers.temperatures import calibration_file, read_temperature
from transfer.inference.predictor import check_calibration, check_params, load_predictor
from transfer.runtime.dvc_files import locked_stages
from transfer.runtime.errors import PipelineError
from transfer.runtime.files import write_bytes
from transfer.runtime.params import read_params


def test_an_unknown_model_is_refused_with_the_list_of_models(world):
    with pytest.raises(
        PipelineError,
        match=r"no model 'best' in models/; there are augmented, finetuned, head, neighbours, "
        r"probe, scratch$",
    ):
        load_predictor("best", with_novelty=False)


def test_models_that_are_not_there_have_to_be_made_or_pulled(own_models):
    shutil.rmtree(own_models / "models")
    with pytest.raises(
        PipelineError, match=r"models/head/model.json is missing; run `dvc repro` or `dvc pull`"
    ):
        load_predictor("head", with_novelty=False)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            None,
            "is missing: it calibrates the probabilities; run `dvc repro evaluate@head` or `dvc "
            "pull evaluate@head`",
        ),
        ("{", "has no temperature "),
        ("[]", "has no temperature "),
        ('{"threshold": 1}', "has no temperature "),
        ('{"temperature": 0}', "must be above 0"),
        ('{"temperature": NaN}', "must be above 0"),
    ],
)
def test_probabilities_that_cannot_be_calibrated_are_refused(project, content, message):
    if content is not None:
        write_bytes(calibration_file("head"), content.encode())
    with pytest.raises(PipelineError, match=message):
        read_temperature("head")


def test_without_the_features_novelty_says_what_to_do(base, world):
    (world / "data").unlink()
    (world / "data").mkdir()
    for name in ("weights", "frozen", "evaluation"):
        (world / "data" / name).symlink_to(base / "data" / name)
    with pytest.raises(
        PipelineError,
        match=r"data/features/train is missing; run `dvc pull extract` .* --no-novelty",
    ):
        load_predictor("head", with_novelty=True)
    assert load_predictor("head", with_novelty=False).class_names == ["a", "b"]


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [
        ("backbone", "preprocessing", "rescale"),
        ("decode", "interpolation", "nearest"),
        ("extract", "dtype", "float16"),
        ("compute", "precision", "bfloat16"),
    ],
)
def test_parameters_that_the_models_were_not_made_with_are_refused(world, section, name, value):
    check_params(read_params(), locked_stages())
    params = yaml.safe_load((world / "params.yaml").read_text())
    params[section][name] = value
    (world / "params.yaml").write_text(yaml.safe_dump(params))
    with pytest.raises(
        PipelineError,
        match=rf"{section}\.{name} = '{value}', and the models were made with '.*' \(dvc.lock\); "
        "run `dvc repro`",
    ):
        check_params(read_params(), locked_stages())


def test_a_lock_that_was_cut_off_is_refused(world):
    (world / "dvc.lock").write_text("schema: '2.0'\nstages:\n  split: [")
    with pytest.raises(
        PipelineError, match="(?s)dvc.lock cannot be read: .*; `python -m transfer repair` rep"
    ):
        load_predictor("head", with_novelty=False)


def test_a_temperature_that_was_chosen_for_an_earlier_model_is_refused(world):
    check_calibration("head", stages := locked_stages())
    (model,) = stages["train_head"]["outs"]
    with pytest.raises(PipelineError, match=r"earlier models/head .*; run `dvc repro eval"):
        check_calibration(
            "head", stages | {"train_head": {"outs": [model | {"md5": "0" * 32 + ".dir"}]}}
        )
    check_calibration("head", {"train_head": stages["train_head"]})


def test_a_model_for_other_activations_is_refused(own_models):
    head = build_head((2, 2, 512), units=4, dropout=0, normalize=False, n_classes=2)
    history = pd.DataFrame([[0] * len(HISTORY)], columns=HISTORY)
    save_classifier("head", Classifier(head, "features", ["a", "b"], epoch=1), history)
    with pytest.raises(
        PipelineError,
        match=r"models/head takes features of shape \(2, 2, 512\), .* gives \(1, 1, 512\)",
    ):
        load_predictor("head", with_novelty=False)
