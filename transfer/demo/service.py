"""Answers the page's requests, one image at a time: the class, the nearest training images, and
what in the image speaks for the class."""

import base64
import io
import threading

import numpy as np
import pandas as pd
from PIL import Image

from transfer.classifiers.neighbours import Neighbours
from transfer.dataset.manifest import read_manifest, split_rows
from transfer.demo.explanation import Explainer
from transfer.features.pooling import pool
from transfer.inference.columns import UNLIKE
from transfer.inference.predictions import Prediction, ranking
from transfer.inference.predictor import NOT_FINITE, Predictor, load_predictor
from transfer.runtime.errors import PipelineError
from transfer.runtime.params import load_params
from transfer.runtime.resource_params import ResourceParams
from transfer.storage.array_paths import inputs_path
from transfer.storage.arrays import read_array
from transfer.storage.params import Shards

MOST_CLASSES = 5
MOST_NEAREST = 5
SHOWN = 512  # the most pixels per side of a picture on the page
# percentile of the validation images up to which an image is called like the training images
_USUAL = 90.0


class Service:
    """Answers for one image at a time, even if several threads call it, so that two images of the
    largest size never take memory together."""

    def __init__(
        self,
        name: str,
        predictor: Predictor,
        explainer: Explainer,
        train: pd.DataFrame,
        train_images: np.ndarray,
    ):
        self.name, self.class_names = name, predictor.class_names
        self._predictor, self._explainer = predictor, explainer
        self._train, self._train_images = train, train_images
        self._lock = threading.Lock()

    def answer(self, content: bytes) -> dict:
        """What the page shows for an image file, ready for JSON; pictures are data URLs, and
        numbers are rounded as in `predict`.

        Args:
            content: the file's bytes.

        Returns:
            predicted, probability: the likeliest class.
            classes: the likeliest few, each with name and probability.
            distance, unlike: as `predict` prints them; likeness: the same in a sentence; is_unlike:
                whether `predict` would mark the image.
            picture: the image.
            nearest: training images, each with path, class, distance and picture.

        Raises:
            BadImageError: these bytes are no image.
            PipelineError: the network gives it no finite number.
        """
        with self._lock:
            image = self._predictor.open(content)
            activations, prediction = self._predict(image)
            image.thumbnail((SHOWN, SHOWN))
            chances = [
                {
                    "name": self.class_names[label],
                    "probability": round(float(prediction.probabilities[label]), 6),
                }
                for label in ranking(prediction.probabilities)[:MOST_CLASSES]
            ]
            return {
                "predicted": chances[0]["name"],
                "probability": chances[0]["probability"],
                "classes": chances,
                "distance": round(prediction.distance, 6),
                "unlike": round(prediction.percentile, 2),
                "likeness": likeness(prediction.percentile),
                "is_unlike": prediction.percentile > UNLIKE,
                "picture": data_url(image),
                "nearest": self._nearest(activations["cut"]),
            }

    def explain(self, content: bytes) -> dict:
        """What speaks for the predicted class, ready for JSON. The first call loads what
        computes that; `answer` does not wait for it.

        Args:
            content: the image file's bytes.

        Returns:
            predicted: the class.
            heat: the picture in grey under its Grad-CAM, a data URL; of the nearest neighbours, as
                in `evaluate`, the training image of the class that is nearest.
            is_seen: whether anything speaks for the class.
            example: the path of that training image; None of a network.

        Raises:
            BadImageError: these bytes are no image.
            PipelineError: the network gives it no finite number, or a file is missing or damaged.
        """
        with self._lock:
            image = self._predictor.open(content)
            activations, prediction = self._predict(image)
            image.thumbnail((SHOWN, SHOWN))
        label = ranking(prediction.probabilities)[0]
        explained = {"predicted": self.class_names[label], "example": None}
        if isinstance(model := self._predictor.classifier, Neighbours):
            row = model.nearest_of_class(activations["features"][0], label)
            heat = data_url(Image.fromarray(self._train_images[row]))
            return explained | {
                "heat": heat,
                "is_seen": True,
                "example": self._train["path"][row],
            }
        heat = self._explainer.heat_map(activations, label)
        # Matplotlib takes a fifth of a second
        from transfer.evaluation.gradcam import overlay

        return explained | {
            "heat": data_url(Image.fromarray(overlay(np.asarray(image), heat))),
            "is_seen": bool(heat.any()),
        }

    def _predict(self, image: Image.Image) -> tuple[dict[str, np.ndarray], Prediction]:
        """An image's activations by name, (1, h, w, C), and its prediction."""
        activations = self._predictor.activations(self._predictor.shrink(image)[None])
        prediction = self._predictor.predict_activations(activations)[0]
        if not np.isfinite(prediction.probabilities).all():
            raise PipelineError(NOT_FINITE)
        return activations, prediction

    def _nearest(self, cut: np.ndarray) -> list[dict]:
        distances, rows = self._predictor.novelty.nearest(pool(cut))
        return [
            {
                "path": self._train["path"][row],
                "class": self._train["class_name"][row],
                "distance": round(distance, 6),
                "picture": data_url(Image.fromarray(self._train_images[row])),
            }
            for distance, row in list(zip(distances[0].tolist(), rows[0].tolist(), strict=True))[
                :MOST_NEAREST
            ]
        ]


def load_service(name: str) -> Service:
    """Load the model `models/NAME` and everything that its answers need.

    Raises:
        PipelineError: as `load_predictor`, and if the training images are missing or damaged.
    """
    predictor = load_predictor(name, with_novelty=True)
    train = split_rows(read_manifest(), "train")
    service = Service(
        name,
        predictor,
        Explainer(name),
        train,
        read_array(
            inputs_path("train", "images"),
            Shards(load_params(ResourceParams, "resources").shards_url),
            rows=len(train),
            ndim=4,
        ),
    )
    # the first request should not wait for what is built on first use
    service.answer(_file(Image.new("RGB", (1, 1)), "PNG"))
    return service


def likeness(percentile: float) -> str:
    """A sentence that says what a percentile from `Novelty.percentiles` means."""
    count = (
        f"{round(percentile, 1):g} % of the validation images are nearer to the training images "
        "than this one."
    )
    if percentile > UNLIKE:
        return f"Hardly like anything it was trained on, so the answer rests on little: {count}"
    return (
        f"{'Like what' if percentile <= _USUAL else 'Farther than most from what'} it was trained "
        f"on: {count}"
    )


def data_url(image: Image.Image) -> str:
    """A picture for a page: thumbnails without loss, larger ones as JPEG, which has a tenth of the
    bytes."""
    kind = "PNG" if max(image.size) <= SHOWN // 4 else "JPEG"
    return f"data:image/{kind.lower()};base64,{base64.b64encode(_file(image, kind)).decode()}"


def _file(image: Image.Image, kind: str) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **({"quality": 90} if kind == "JPEG" else {}))
    return file.getvalue()
