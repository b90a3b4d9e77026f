"""Backbones and image sizes compared by what a linear classifier makes of their frozen features,
and by how fast LiteRT computes these.

    python -m benchmarks.backbones VGG16:64 EfficientNetLite0:96 EfficientNetLite0:128

Each NAME:PIXELS is built with its published weights, fetched from the first source that serves, and
converted as the stages `weights` and `convert` do. Features are averaged over the picture; a
logistic regression (scikit-learn) is trained on the training split for each strength of its
penalty. Images are those of the manifest, so `dvc repro split` comes first.

Prints one row per backbone, as Markdown: images per second on all cores, the lowest validation
loss over the strengths, the accuracy there, its 95 % interval (Wilson), and the strength. Test
images are not read: choose by these columns.
"""

import argparse
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from statsmodels.stats.proportion import proportion_confint
from threadpoolctl import threadpool_limits

from transfer.backbones.conversion import convert
from transfer.backbones.litert_network import IMAGES_PER_CALL, LiteRTNetwork
from transfer.backbones.network import build_backbone, with_preprocessing
from transfer.backbones.registry import BackboneParams
from transfer.backbones.weight_sources import SOURCES, load_first
from transfer.dataset.manifest import labels_of, read_manifest, split_rows
from transfer.decoding.rgb import DecodeParams, Resize
from transfer.engines.local import LocalEngine
from transfer.runtime.cores import available_cores
from transfer.runtime.params import load_param, load_params
from transfer.sources.verified_images import map_verified_images

SPLITS = ("train", "validation")
STRENGTHS = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 1)  # scikit-learn's C
COLUMNS = ("backbone", "pixels", "images/s", "loss", "accuracy", "interval", "C")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("backbones", nargs="+", metavar="NAME:PIXELS")
    manifest = read_manifest()
    print("| " + " | ".join(COLUMNS) + " |\n|" + "---|" * len(COLUMNS))
    for backbone in parser.parse_args().backbones:
        name, _, pixels = backbone.partition(":")
        row = measure(name, int(pixels), manifest)
        print("| " + " | ".join(map(str, row)) + " |", flush=True)


def measure(name: str, pixels: int, manifest: pd.DataFrame) -> tuple:
    """One backbone's row of the table, in the order of COLUMNS."""
    images = read_images(manifest, pixels)
    network = build_network(name, pixels)
    features, labels = {}, {}
    seconds = 0.0
    for split in SPLITS:
        start = time.perf_counter()
        features[split] = pooled_features(network, images[split])
        seconds += time.perf_counter() - start
        labels[split] = labels_of(manifest, split)
    loss, strength, chances = best_probe(features, labels)
    right = int((chances.argmax(axis=1) == labels["validation"]).sum())
    low, high = proportion_confint(right, len(chances), method="wilson")
    rate = sum(map(len, images.values())) / seconds
    return (
        name,
        pixels,
        f"{rate:.0f}",
        f"{loss:.3f}",
        f"{right / len(chances):.3f}",
        f"{low:.3f} to {high:.3f}",
        strength,
    )


def read_images(manifest: pd.DataFrame, pixels: int) -> dict[str, np.ndarray]:
    """Each split's images, uint8 (N, pixels, pixels, 3), in the manifest's order."""
    interpolation = load_params(DecodeParams, "decode").interpolation
    listed = manifest[manifest["split"].isin(SPLITS)]
    source = load_param(str, "split.source")
    by_path = dict(
        map_verified_images(Resize(pixels, interpolation), source, listed, LocalEngine())
    )
    return {
        split: np.stack([by_path[path] for path in split_rows(manifest, split)["path"]])
        for split in SPLITS
    }


def build_network(name: str, pixels: int) -> LiteRTNetwork:
    """The frozen network on LiteRT, with the published weights."""
    params = BackboneParams(
        name=name, image_size=pixels, preprocessing="imagenet", unfreeze_from=None
    )
    backbone = build_backbone(name, pixels)
    load_first(backbone, SOURCES[name])
    return LiteRTNetwork(convert(with_preprocessing(backbone, params)), identity=b"")


def pooled_features(network: LiteRTNetwork, images: np.ndarray) -> np.ndarray:
    """Features averaged over the picture, float32 (N, C), by one thread per core."""
    starts = range(0, len(images), IMAGES_PER_CALL)
    with ThreadPoolExecutor(available_cores()) as threads:
        parts = threads.map(
            lambda start: network(images[start : start + IMAGES_PER_CALL])[1].mean(axis=(1, 2)),
            starts,
        )
        return np.concatenate(list(parts))


def best_probe(
    features: dict[str, np.ndarray], labels: dict[str, np.ndarray]
) -> tuple[float, float, np.ndarray]:
    """The logistic regression of the lowest validation loss: its loss, its strength, and its
    probabilities of the validation images (N, classes)."""
    mean, deviation = features["train"].mean(axis=0), features["train"].std(axis=0) + 1e-6
    scaled = {split: (values - mean) / deviation for split, values in features.items()}
    tried = []
    with threadpool_limits(1):
        for strength in STRENGTHS:
            probe = LogisticRegression(C=strength, max_iter=2000)
            probe.fit(scaled["train"], labels["train"])
            chances = probe.predict_proba(scaled["validation"])
            tried.append((log_loss(labels["validation"], chances), strength, chances))
    return min(tried, key=lambda each: each[0])


if __name__ == "__main__":
    main()
