"""The demo's answers and explanations are those of evaluate and predict."""

import base64
import contextlib
import io
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.helpers.tiny_pipeline import call
from tests.helpers.tiny_sources import encode, picture
from transfer.backbones.registry import BackboneParams
from transfer.classifiers.converted import load_converted
from transfer.demo import explanation
from transfer.evaluation.litert_gradcam import LiteRTGradCam
from transfer.runtime.params import load_params


@pytest.fixture(scope="module", params=["finetuned", "head"])
def service(base, request):
    from transfer.demo.service import load_service

    with contextlib.chdir(base):
        service = load_service(request.param)
        service.explain(encode(picture(0)))  # reads the project's files, as the command does
        return service


@pytest.fixture(scope="module")
def manifest(base) -> pd.DataFrame:
    return pd.read_csv(base / "data/manifest/manifest.csv")


def content_of(base: Path, path: str) -> bytes:
    return (base / "images" / path).read_bytes()


def pixels_of(data_url: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data_url.partition(",")[2]))))


def gradcam_of(base: Path, name: str) -> LiteRTGradCam:
    with contextlib.chdir(base):
        classifier = load_converted(name)
        return LiteRTGradCam(name, classifier, load_params(BackboneParams, "backbone"))


def test_an_answer_is_that_of_evaluate_and_of_predict(base, service):
    evaluated = list(
        pd.read_csv(base / f"data/evaluation/{service.name}/predictions.csv").itertuples()
    )
    contents = [content_of(base, one.path) for one in evaluated]
    predictions = service._predictor.predict(
        np.stack([service._predictor.decode(content) for content in contents])
    )
    for one, content, predicted in zip(evaluated, contents, predictions, strict=True):
        answer = json.loads(json.dumps(service.answer(content)))
        assert (answer["predicted"], answer["probability"]) == (one.predicted, one.probability)
        assert [each["name"] for each in answer["classes"]] == [
            one.predicted,
            *({"a", "b"} - {one.predicted}),
        ]
        assert (answer["distance"], answer["unlike"]) == (
            round(predicted.distance, 6),
            round(predicted.percentile, 2),
        )


def test_the_heat_is_that_of_evaluates_pictures(base, service, manifest):
    """The tiny world's images are as large as a thumbnail, and PNGs lose nothing; so the map over
    them is compared bit by bit."""
    from transfer.evaluation.gradcam import overlay

    test = manifest[manifest["split"] == "test"].reset_index(drop=True)
    gradcam = gradcam_of(base, service.name)
    kind = "images" if gradcam.start == "images" else "features"
    starts = np.load(base / f"data/{kind}/test/{gradcam.start}.npy")
    for row, path in enumerate(test["path"][:3]):
        content = content_of(base, path)
        answer, explained = service.answer(content), service.explain(content)
        assert explained["predicted"] == answer["predicted"]
        target = service.class_names.index(answer["predicted"])
        (heat,) = gradcam.heat_maps(starts[[row]], np.array([target]))
        image = pixels_of(answer["picture"])
        assert (image == np.asarray(Image.open(base / "images" / path))).all()
        assert (pixels_of(explained["heat"]) == overlay(image, heat)).all()
        assert explained["is_seen"] == heat.any()


def test_a_training_image_is_the_nearest_to_itself(base, service, manifest):
    train = manifest[manifest["split"] == "train"].reset_index(drop=True)
    images = np.load(base / "data/images/train/images.npy")
    for row in (0, len(train) - 1):
        nearest = service.answer(content_of(base, train["path"][row]))["nearest"]
        assert (nearest[0]["path"], nearest[0]["class"], nearest[0]["distance"]) == (
            train["path"][row],
            train["class_name"][row],
            0,
        )
        assert (pixels_of(nearest[0]["picture"]) == images[row]).all()
        assert len(nearest) == 5
        assert [each["distance"] for each in nearest] == sorted(
            each["distance"] for each in nearest
        )


def test_a_large_picture_is_shown_smaller_and_keeps_its_shape(service):
    content = encode(picture(0, 900, 300), "JPEG")
    answer, explained = service.answer(content), service.explain(content)
    shapes = {pixels_of(each).shape for each in (answer["picture"], explained["heat"])}
    assert shapes == {(171, 512, 3)}
    assert answer["picture"].startswith("data:image/jpeg;base64,")
    assert answer["is_unlike"]
    assert answer["likeness"].startswith("Hardly like anything it was trained on")


def test_threads_get_the_answers_of_their_own_images(base, service, manifest):
    contents = [content_of(base, path) for path in manifest["path"][:3]]
    alone = [service.answer(content) for content in contents]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(service.answer, contents)) == alone


# what is imported does not depend on the model
def test_neither_an_answer_nor_an_explanation_needs_tensorflow(base, service, manifest):
    code = (
        "import sys; from pathlib import Path; from transfer.demo.service import load_service\n"
        "service, content = load_service(sys.argv[1]), Path(sys.argv[2]).read_bytes()\n"
        "print(service.answer(content)['probability'], service.explain(content)['is_seen'])\n"
        "print([name for name in ('keras', 'tensorflow') if name in sys.modules])"
    )
    path = f"images/{manifest['path'][0]}"
    content = (base / path).read_bytes()
    said = call("python", "-c", code, service.name, path, cwd=base).stdout
    assert said.splitlines() == [
        f"{service.answer(content)['probability']} {service.explain(content)['is_seen']}",
        "[]",
    ]


def test_on_keras_the_explanation_is_nearly_the_same(base, service, manifest, monkeypatch):
    monkeypatch.chdir(base)
    content = content_of(base, manifest["path"][0])
    heat = pixels_of(service.explain(content)["heat"])
    monkeypatch.setattr(explanation, "choose_runtime", lambda *_: "keras")
    monkeypatch.setattr(service, "_explainer", explanation.Explainer(service.name))
    on_keras = pixels_of(service.explain(content)["heat"])
    assert np.abs(heat.astype(int) - on_keras).max() <= 2


def test_threads_that_ask_first_load_the_model_once(base, service, manifest, monkeypatch):
    loads, load = [], explanation._load
    monkeypatch.setattr(explanation, "_load", lambda name: loads.append(name) or load(name))
    monkeypatch.chdir(base)
    monkeypatch.setattr(service, "_explainer", explanation.Explainer(service.name))
    contents = [content_of(base, path) for path in manifest["path"][:3]]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(service.explain, contents * 2))
    assert loads == [service.name]
    assert found[:3] == found[3:]


@pytest.mark.parametrize(
    ("percentile", "words"),
    [
        (50.04, "Like what it was trained on: 50 % of"),
        (90.1, "Farther than most from what it was trained on: 90.1 % of"),
        (99.0, "Farther"),
        (99.1, "Hardly"),
    ],
)
def test_a_percentile_in_words(percentile, words):
    from transfer.demo.service import likeness

    assert likeness(percentile).startswith(words)
