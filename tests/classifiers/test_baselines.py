"""The baselines: the linear probe and the nearest neighbours, their stages, and their files."""

import json
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from stages import train_neighbours, train_probe
from tests.helpers.tiny_sources import write_params
from transfer.classifiers.baselines import score_settings
from transfer.classifiers.description import read_description
from transfer.classifiers.names import choices_file, description_file, is_skipped, weights_file
from transfer.classifiers.neighbours import (
    SHARPNESS,
    Neighbours,
    load_neighbours,
    save_neighbours,
    unit_length,
    vote_logits,
)
from transfer.classifiers.probabilities import probabilities
from transfer.classifiers.probe import Probe, ProbeClassifier, fit_probe, load_probe, save_probe
from transfer.dataset.manifest import manifest_file, write_manifest
from transfer.runtime.errors import PipelineError
from transfer.runtime.params import load_params

STAGES = {"neighbours": train_neighbours, "probe": train_probe}


def features_of(n: int, n_classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features (n, 2, 2, 6) whose averages tell the classes apart, but not all of them."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % n_classes
    values = rng.normal(0, 2, (n, 2, 2, 6)) + 30
    values[np.arange(n), :, :, labels] += 1.5
    return values.astype(np.float32), labels


def neighbours_of(features: np.ndarray, labels: np.ndarray, count: int, names: str) -> Neighbours:
    return Neighbours(
        unit_length(features.mean(axis=(1, 2))),
        labels,
        np.ones(len(labels), np.float32),
        count,
        features.shape[1:],
        list(names),
    )


@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_probe_answers_as_scikit_learn_does(n_classes):
    features, labels = features_of(60, n_classes, seed=0)
    means, others = features.mean(axis=(1, 2)), features_of(40, n_classes, seed=1)[0]
    probe = fit_probe(means, labels, None, 0.1, n_classes)
    scaler = StandardScaler().fit(means)
    reference = LogisticRegression(C=0.1, max_iter=5000).fit(scaler.transform(means), labels)
    chances = reference.predict_proba(scaler.transform(others.mean(axis=(1, 2))))
    found = probe.logits(others.mean(axis=(1, 2)))
    assert found.shape == (40, 1 if n_classes == 2 else n_classes)
    assert probabilities(found) == pytest.approx(chances, abs=1e-3)


def test_a_row_of_the_probe_depends_on_its_image_alone():
    draw = np.random.default_rng(0)
    probe = Probe(draw.random((512, 3), np.float32), np.arange(3, dtype=np.float32))
    features = draw.random((9, 2, 2, 512), np.float32)
    classifier = ProbeClassifier(probe, (2, 2, 512), ["a", "b", "c"])
    logits = classifier.logits(features)
    assert (logits.dtype, logits.shape) == (np.float32, (9, 3))
    assert logits == pytest.approx(probe.logits(features.mean(axis=(1, 2))), rel=1e-5)
    assert (classifier.logits(features[7:3:-2]) == logits[7:3:-2]).all()
    assert classifier.logits(features[:0]).shape == (0, 3)


def test_images_of_weight_0_say_nothing_to_the_probe():
    means, labels = features_of(30, 2, seed=0)[0].mean(axis=(1, 2)), np.arange(30) % 2
    weights = np.where(np.arange(30) < 10, 0, 1).astype(np.float32)
    weighted = fit_probe(means, labels, weights, 0.1, 2)
    rest = fit_probe(means, np.where(np.arange(30) < 10, 1 - labels, labels), weights, 0.1, 2)
    assert (weighted.kernel == rest.kernel).all()
    assert (weighted.kernel != fit_probe(means, labels, None, 0.1, 2).kernel).any()


@pytest.mark.parametrize(("labels", "n_classes"), [((0, 1), 3), ((2, 0), 3), ((1, 1), 2)])
def test_a_class_without_a_training_image_is_never_the_probes_answer(labels, n_classes):
    features, _ = features_of(20, 2, seed=0)
    features[10:] += 5
    given = np.repeat(labels, 10)
    logits = fit_probe(features.mean(axis=(1, 2)), given, None, 1.0, n_classes).logits(
        features.mean(axis=(1, 2))
    )
    assert (probabilities(logits).argmax(axis=1) == given).all()


def test_a_channel_that_never_varies_does_no_harm():
    features, labels = features_of(60, 2, seed=0)
    features[..., 3] = 7
    means = features.mean(axis=(1, 2))
    probe = fit_probe(means, labels, None, 1.0, 2)
    assert np.isfinite(probe.kernel).all() and np.isfinite(probe.bias).all()
    assert ((probe.logits(means)[:, 0] > 0) == labels).mean() > 0.7


@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_neighbours_vote_as_scikit_learns_do(n_classes):
    features, labels = features_of(60, n_classes, seed=0)
    others, _ = features_of(40, n_classes, seed=1)
    neighbours = neighbours_of(features, labels, 7, "abc"[:n_classes])
    reference = KNeighborsClassifier(
        7, metric="cosine", weights=lambda distances: np.exp(-distances / SHARPNESS)
    ).fit(features.mean(axis=(1, 2)), labels)
    shares = reference.predict_proba(others.mean(axis=(1, 2)))
    found = probabilities(neighbours.logits(others))
    assert found == pytest.approx((7 * shares + 1 / n_classes) / 8, abs=1e-4)


def test_a_row_of_logits_does_not_depend_on_the_batch_and_several_counts_are_asked_at_once():
    features, labels = features_of(30, 2, seed=0)
    others, _ = features_of(20, 2, seed=1)
    neighbours = neighbours_of(features, labels, 3, "ab")
    assert (neighbours.logits(others[5:6]) == neighbours.logits(others)[5:6]).all()
    one, three = neighbours.logits_by_count(others, [1, 3])
    assert (three == neighbours.logits(others)).all() and (one != three).any()
    assert neighbours.logits(others[:0]).shape == (0, 1)


def test_more_neighbours_than_images_are_all_images_and_weight_0_has_no_vote():
    features, labels = features_of(4, 2, seed=0)
    neighbours = neighbours_of(features, labels, 99, "ab")
    assert neighbours.nearest(features, 99)[1].shape == (4, 4)
    neighbours.weights[labels == 0] = 0
    assert (neighbours.logits(features)[:, 0] > 0).all()


def test_the_nearest_are_those_of_a_stable_sort_in_blocks_of_any_size(monkeypatch):
    rng = np.random.default_rng(0)
    features = rng.integers(0, 2, (90, 2, 2, 3)).astype(np.float32)  # many equal cosines
    features[4] = 0
    others = rng.integers(0, 2, (7, 2, 2, 3)).astype(np.float32)
    others[2], others[3] = 0, np.nan
    neighbours = neighbours_of(features, np.arange(90) % 2, 3, "ab")
    whole = neighbours.nearest(others, 90)
    averages = unit_length(others.mean(axis=(1, 2)))
    cosines = np.array([np.einsum("nc,c->n", neighbours.vectors, each) for each in averages])
    assert (whole[1] == np.argsort(-cosines, axis=1, kind="stable")).all()
    assert len(np.unique(cosines[0])) < 45
    monkeypatch.setattr("transfer.classifiers.neighbours._ROWS", 7)  # 90 leaves a block of 6
    monkeypatch.setattr("transfer.classifiers.neighbours._COSINES", 200)
    for count in (1, 10, 89, 90, 200):
        found = neighbours.nearest(others, count)
        assert [each.tobytes() for each in found] == [
            np.ascontiguousarray(each[:, :count]).tobytes() for each in whole
        ]


def test_the_nearest_image_of_a_class_is_found_and_is_of_any_class_if_that_has_none():
    features, labels = features_of(10, 2, seed=0)
    neighbours = neighbours_of(features, labels, 3, "abc")
    assert neighbours.nearest_of_class(features[4], 0) == 4
    other = neighbours.nearest_of_class(features[4], 1)
    cosines = unit_length(features.mean(axis=(1, 2))) @ unit_length(features[4].mean(axis=(0, 1)))
    assert other == max(np.flatnonzero(labels == 1), key=lambda row: cosines[row])
    assert neighbours.nearest_of_class(features[4], 2) == 4


def test_votes_become_probabilities_of_which_none_is_0():
    assert probabilities(vote_logits(np.array([[1.0, 0, 0]]), 3)) == pytest.approx(
        np.array([[10, 1, 1]]) / 12
    )


def test_settings_are_scored_by_log_loss_and_accuracy():
    sure = np.array([[3.0], [-3.0], [3.0]])
    table = score_settings("strength", [1, 2], [sure, 0 * sure + 1e-9], np.array([1, 0, 0]))
    assert list(table) == ["strength", "val_loss", "val_accuracy"]
    chance = 1 / (1 + np.exp(-3))
    assert table["val_loss"].to_list() == pytest.approx(
        [-(2 * np.log(chance) + np.log(1 - chance)) / 3, np.log(2)]
    )
    assert table["val_accuracy"].to_list() == pytest.approx([2 / 3, 1 / 3])


@pytest.fixture
def extracted(project) -> Path:
    """A manifest and features as the stages before leave them, and few settings."""
    rows = []
    for split, n in (("train", 60), ("validation", 40), ("test", 10)):
        features, labels = features_of(n, 2, seed=len(rows))
        path = Path("data/features") / split / "features.npy"
        path.parent.mkdir(parents=True)
        np.save(path, features)
        rows += [
            {
                "split": split,
                "path": f"{row:03}{split}.png",
                "class_name": "ab"[label],
                "label": label,
                "group": len(rows) + row,
                "sha256": f"{len(rows) + row:064x}",
            }
            for row, label in enumerate(labels)
        ]
    write_manifest(pd.DataFrame(rows), manifest_file("csv"))
    write_params(
        project,
        train_probe={"strengths": [1e-5, 100, 1e-2]},
        train_neighbours={"neighbours": [1, 9, 3]},
    )
    return project


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_keeps_the_setting_of_the_lowest_validation_loss_in_the_same_bytes(name, extracted):
    found = []
    for _ in range(2):
        STAGES[name].main()
        found.append([path.read_bytes() for path in sorted(Path("models", name).iterdir())])
    assert found[0] == found[1] and len(found[0]) == 3
    choices = pd.read_csv(choices_file(name))
    setting = choices.columns[0]
    assert len(choices) == 3
    best = choices.loc[choices["val_loss"].idxmin()]
    recorded = json.loads(description_file(name).read_text())
    assert recorded[setting] == best[setting]
    assert read_description(name).class_names == recorded["class_names"] == ["a", "b"]
    validation = np.load("data/features/validation/features.npy")
    logits = (
        load_neighbours().logits(validation)
        if name == "neighbours"
        else load_probe()[0].logits(validation.mean(axis=(1, 2)))
    )
    accuracy = ((logits[:, 0] > 0) == np.arange(40) % 2).mean()
    assert accuracy == pytest.approx(best["val_accuracy"], abs=1e-6)


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_without_settings_is_skipped_and_the_model_is_not_there(name, extracted):
    write_params(extracted, train_probe={"strengths": []}, train_neighbours={"neighbours": []})
    STAGES[name].main()
    assert is_skipped(name)
    with pytest.raises(PipelineError, match="it was skipped"):
        load_neighbours() if name == "neighbours" else load_probe()


@pytest.mark.parametrize(
    ("section", "kind", "values"),
    [
        ("train_probe", train_probe.TrainProbeParams, {"strengths": [0]}),
        ("train_neighbours", train_neighbours.TrainNeighboursParams, {"neighbours": [1.5]}),
        ("train_neighbours", train_neighbours.TrainNeighboursParams, {"neighbours": [0]}),
    ],
)
def test_settings_that_make_no_sense_are_refused(section, kind, values, project):
    write_params(project, **{section: values})
    with pytest.raises(PipelineError, match=rf"{section}\.{next(iter(values))}"):
        load_params(kind, section)


@pytest.fixture
def saved(project) -> Path:
    """A project with both baselines, of features (2, 2, 6) and two classes."""
    features, labels = features_of(60, 2, seed=0)
    for name, setting in (("neighbours", 3), ("probe", 0.01)):
        logits = np.zeros((60, 1))
        choices = score_settings(name, [setting], [logits], labels)
        if name == "probe":
            probe = fit_probe(features.mean(axis=(1, 2)), labels, None, setting, 2)
            save_probe(probe, (2, 2, 6), ["a", "b"], setting, choices)
        else:
            save_neighbours(neighbours_of(features, labels, setting, "ab"), choices)
    return project


def change(name: str, key: str, value: object) -> None:
    """Replace an array, or leave it out for None."""
    with h5py.File(weights_file(name), "a") as file:
        del file[key]
        if value is not None:
            file[key] = value


DAMAGES = {
    "no file": lambda name: weights_file(name).unlink(),
    "no HDF5": lambda name: weights_file(name).write_bytes(b"\x80\x04."),
    "cut": lambda name: weights_file(name).write_bytes(weights_file(name).read_bytes()[:-300]),
    "no JSON": lambda name: description_file(name).write_text("{"),
    "no shape": lambda name: description_file(name).write_text(
        '{"input_kind": "features", "class_names": ["a", "b"]}'
    ),
    "another shape": lambda name: description_file(name).write_text(
        description_file(name).read_text().replace("6", "7")
    ),
    "other classes": lambda name: description_file(name).write_text(
        description_file(name).read_text().replace('"b"', '"b", "c"')
    ),
    "an array is missing": lambda name: change(name, ARRAYS[name], None),
    "a link elsewhere": lambda name: change(name, ARRAYS[name], h5py.ExternalLink("x.h5", "/a")),
    "NaN": lambda name: change(name, ARRAYS[name], np.full((6, 1), np.nan, np.float32)),
    "text": lambda name: change(name, ARRAYS[name], "text"),
}
ARRAYS = {"neighbours": "vectors", "probe": "kernel"}


@pytest.mark.parametrize("damage", [each for each in DAMAGES if each != "other classes"])
@pytest.mark.parametrize("name", STAGES)
def test_damaged_files_are_named(name, damage, saved):
    DAMAGES[damage](name)
    with pytest.raises(PipelineError, match=f"models/{name}/model.*(missing|damaged)"):
        load_neighbours() if name == "neighbours" else load_probe()


def test_a_probe_of_other_classes_is_damaged(saved):
    DAMAGES["other classes"]("probe")
    with pytest.raises(PipelineError, match="do not belong together"):
        load_probe()


@pytest.mark.parametrize("wrong", [{"labels": -1}, {"labels": 2}, {"count": 0}])
def test_neighbours_that_cannot_vote_are_damaged(wrong, saved):
    if "labels" in wrong:
        change("neighbours", "labels", np.full(60, wrong["labels"], np.int32))
    else:
        text = json.loads(description_file("neighbours").read_text()) | {"neighbours": 0}
        description_file("neighbours").write_text(json.dumps(text))
    with pytest.raises(PipelineError, match="do not belong together"):
        load_neighbours()


def test_an_array_larger_than_its_file_is_refused_before_memory_is_taken(saved):
    with h5py.File(weights_file("probe"), "a") as file:
        del file["kernel"]
        file.create_dataset("kernel", (1 << 40,), np.float32, chunks=(1 << 20,))
    with pytest.raises(PipelineError, match=r"kernel of 4,398,046,511,104 bytes in a file of"):
        load_probe()
