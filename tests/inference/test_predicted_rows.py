"""The rows of `python -m transfer predict` in a process of its own: the same answers as evaluate's,
whichever images stand beside."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.helpers.tiny_pipeline import MODELS, call
from tests.helpers.tiny_sources import build
from tests.helpers.typed import split_rows

# What one process of its own, set up as the stages are, makes of the world:
# each run's words and file.
RUNS = {
    **{name: ["--model", name, "images"] for name in MODELS},
    "alone": ["images/b/7.png"],
    "other order": [f"images/{label}/{i}.png" for label in "ba" for i in (7, 3, 11, 0, 5, 2)] * 5,
    "no novelty": ["--no-novelty", "images"],
    "archive": ["images.zip"],
}
# a run of the command, then those of the modules that it can do without and has imported
IMPORTS = """
import json, sys
from transfer.commands import predict
assert predict.main(sys.argv[1:]) == 0
slow = ("tensorflow", "keras", "pandas", "scipy", "sklearn", "matplotlib", "h5py", "pyarrow")
print(json.dumps([name for name in slow if name in sys.modules]))
"""


@pytest.fixture(scope="module")
def told(base: Path, tmp_path_factory) -> dict[str, list[dict]]:
    folder = tmp_path_factory.mktemp("told")
    files = {
        path.relative_to(base / "images").as_posix(): path.read_bytes()
        for path in sorted((base / "images").rglob("*.png"))
    }
    archive = build(folder / "images.zip", files)
    runs = {
        name: [*words, "--output", str(folder / f"{name}.jsonl")] for name, words in RUNS.items()
    }
    runs["archive"][0] = str(archive)
    code = (
        "import json, sys; from transfer.commands import predict\n"
        "for words in json.loads(sys.argv[1]): assert predict.main(words) == 0, words"
    )
    call("python", "-c", code, json.dumps(list(runs.values())), cwd=base)
    return {name: split_rows((folder / f"{name}.jsonl").read_text()) for name in runs}


@pytest.mark.parametrize("name", MODELS)
def test_a_test_image_gets_the_answer_that_evaluate_has(base, told, name):
    """The same class and the same digits of the calibrated probability."""
    rows = {row["path"]: row for row in told[name]}
    evaluated = list(
        csv.DictReader(io.StringIO((base / f"data/evaluation/{name}/predictions.csv").read_text()))
    )
    assert len(rows) == 24
    assert len(evaluated) == 6
    for one in evaluated:
        row = rows[f"images/{one['path']}"]
        assert (row["predicted"], str(row["probability"])) == (one["predicted"], one["probability"])


def test_a_row_depends_on_its_image_alone(told):
    among = {row["path"]: row for row in told["finetuned"]}
    assert told["alone"] == [among["images/b/7.png"]]
    assert told["other order"] == [among[path] for path in RUNS["other order"]]
    assert [row | {"path": ""} for row in told["archive"]] == [
        row | {"path": ""} for row in told["finetuned"]
    ]


def test_without_novelty_the_rest_is_the_same(told):
    assert told["no novelty"] == [
        row | {"unlike": None, "distance": None} for row in told["finetuned"]
    ]


def test_novelty_compares_the_mean_distance_to_the_nearest_training_images_with_validation(
    base, told
):
    manifest = csv.DictReader(io.StringIO((base / "data/manifest/manifest.csv").read_text()))
    params = yaml.safe_load((base / "params.yaml").read_text())
    rows = {row["path"]: row for row in told["finetuned"]}
    vectors = {}
    for split in ("train", "validation"):
        means = (
            np.load(base / f"data/features/{split}/cut.npy").astype(np.float64).mean(axis=(1, 2))
        )
        vectors[split] = means / np.linalg.norm(means, axis=1, keepdims=True)
    usual = np.sort(
        [
            np.sort(np.linalg.norm(vectors["train"] - each, axis=1))[
                : params["audit"]["neighbours"]
            ].mean()
            for each in vectors["validation"]
        ]
    )
    named = [f"images/{each['path']}" for each in manifest if each["split"] == "validation"]
    assert np.sort([rows[path]["distance"] for path in named]) == pytest.approx(usual, abs=2e-6)
    assert sorted(rows[path]["unlike"] for path in named) == pytest.approx(
        [100 * i / len(named) for i in range(len(named))], abs=0.01
    )
    assert told["head"][0]["distance"] == told["finetuned"][0]["distance"], (
        "the layers in front of the cut are every model's"
    )


def test_on_a_warm_cache_neither_keras_nor_what_else_loads_slowly_is_imported(base, told):
    """The trainings have kept the converted models."""
    finished = call("python", "-c", IMPORTS, "images/b/7.png", "--format", "jsonl", cwd=base)
    *rows, imported = finished.stdout.splitlines()
    assert split_rows("\n".join(rows)) == told["alone"]
    assert json.loads(imported) == []
    assert "converting" not in finished.stderr


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            "from transfer.classifiers import loading\n"
            "def refuse(name): raise loading.CannotConvertError('no such operation')\n"
            "loading.load_converted = refuse\n",
            "the model is computed by Keras's backend, not by LiteRT: no such operation",
        ),
        (
            "from transfer.compute import litert_support\n"
            "litert_support.find_spec = lambda name: None\n"
            "sys.modules['ai_edge_litert'] = None\n",
            "the frozen layers are computed by Keras's backend, not by LiteRT: LiteRT is not "
            "installed",
        ),
    ],
)
def test_keras_computes_what_litert_cannot(base, told, change, reason):
    """And standard output holds nothing but the predictions."""
    code = (
        f"import sys\n{change}from transfer.commands import predict\n"
        "sys.exit(predict.main(['--model', 'head', '--format', 'jsonl', 'images']))"
    )
    finished = call("python", "-c", code, cwd=base)
    assert reason in finished.stderr
    for row, expected in zip(split_rows(finished.stdout), told["head"], strict=True):
        assert (row["path"], row["predicted"]) == (expected["path"], expected["predicted"])
        assert row["probability"] == pytest.approx(expected["probability"], abs=2e-6)
        assert row["distance"] == pytest.approx(expected["distance"], abs=2e-6)
