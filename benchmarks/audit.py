"""How much of what is planted the audit finds, on the data of a finished run.

    python -m benchmarks.audit --seeds 20

Label errors: 5 % of the training and validation labels are flipped to another class, once a seed,
and looked for. Precision counts every other image that is reported as wrong, also where the
source's own label is an error. Near-copies: each image is changed in a way that people change
copies, and compared with itself. Image problems: each image is spoilt, and scored; the blur also by
cleanvision's own measure. Prints three tables in Markdown. Nothing is written.
"""

import argparse
import io
from collections.abc import Callable
from pathlib import Path

import imagehash
import numpy as np
import pandas as pd
from cleanlab.rank import get_label_quality_scores
from cleanvision.issue_managers.image_property import BlurrinessProperty
from cleanvision.issue_managers.image_property_issue_manager import ImagePropertyIssueManager
from PIL import Image, ImageEnhance, ImageFilter
from sklearn.metrics import average_precision_score
from threadpoolctl import threadpool_limits

from stages.audit import AUDITED, AuditParams
from transfer.audit.image_quality import find_image_problems, measure
from transfer.audit.label_errors import find_label_errors, predict_out_of_fold
from transfer.dataset.manifest import read_manifest, split_rows
from transfer.engines.local import LocalEngine
from transfer.features.pooling import read_pooled
from transfer.runtime.params import load_param, load_params
from transfer.sources.verified_images import map_verified_images
from transfer.storage.params import Shards

SHARE = 0.05


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=20)
    seeds = parser.parse_args().seeds
    params = load_params(AuditParams, "audit")
    manifest = read_manifest()
    images = pd.concat([split_rows(manifest, split) for split in AUDITED], ignore_index=True)
    with threadpool_limits(1):
        features = read_pooled(manifest, AUDITED, Shards())
        show(f"label errors, {seeds} seeds", label_errors(features, images, params, seeds))
    pictures = list(
        dict(
            map_verified_images(
                lambda image: image, Path(load_param(str, "split.source")), images, LocalEngine()
            )
        ).values()
    )
    show("near-copies", near_copies(pictures, params.near_duplicate_bits))
    show("image problems", image_problems(pictures, params))


def show(title: str, table: pd.DataFrame) -> None:
    print(f"\n{title}:\n\n{table.to_markdown(index=False, floatfmt='.3g')}")


def label_errors(
    features: np.ndarray, images: pd.DataFrame, params: AuditParams, seeds: int
) -> pd.DataFrame:
    """Mean, standard deviation, least and most over the seeds, of flipped labels found."""
    results = [flip_and_find(features, images, params, seed) for seed in range(seeds)]
    return pd.DataFrame(results).agg(["mean", "std", "min", "max"]).reset_index(names="over seeds")


def flip_and_find(
    features: np.ndarray, images: pd.DataFrame, params: AuditParams, seed: int
) -> dict[str, float]:
    rng = np.random.default_rng(seed)
    labels = images["class_name"].to_numpy().copy()
    names = np.unique(labels)
    flipped = np.zeros(len(labels), dtype=bool)
    flipped[rng.choice(len(labels), round(SHARE * len(labels)), replace=False)] = True
    shift = rng.integers(1, len(names), flipped.sum())
    labels[flipped] = names[(np.searchsorted(names, labels[flipped]) + shift) % len(names)]
    predicted = predict_out_of_fold(
        features, labels, images["group"].to_numpy(), params.folds, params.seed
    )
    found = np.zeros(len(labels), dtype=bool)
    found[[issue.row for issue in find_label_errors(predicted, labels)]] = True
    quality = np.ones(len(labels))
    quality[predicted.index] = get_label_quality_scores(
        np.searchsorted(names, labels[predicted.index]), predicted.to_numpy()
    )
    worst = np.argsort(quality, kind="stable")[: flipped.sum()]
    return {
        "flipped": flipped.sum(),
        "reported": found.sum(),
        "precision": (found & flipped).sum() / max(found.sum(), 1),
        "recall": (found & flipped).sum() / flipped.sum(),
        "average precision": average_precision_score(flipped, -quality),
        "precision of as many as were flipped": flipped[worst].mean(),
    }


def near_copies(pictures: list[Image.Image], bits: int) -> pd.DataFrame:
    """Bits that a change moves, and the share of images still known by at most `bits`."""
    changes: dict[str, Callable[[Image.Image], Image.Image]] = {
        "JPEG of quality 30": lambda image: reopened(image, quality=30),
        "half the size": lambda image: image.resize(
            (max(image.width // 2, 1), max(image.height // 2, 1))
        ),
        "grey": lambda image: image.convert("L").convert("RGB"),
        "brighter by a fifth": lambda image: ImageEnhance.Brightness(image).enhance(1.2),
        "2 % cut from each side": lambda image: cropped(image, 0.02),
        "5 % cut from each side": lambda image: cropped(image, 0.05),
    }
    rows = []
    for name, change in changes.items():
        moved = np.array(
            [imagehash.phash(image) - imagehash.phash(change(image)) for image in pictures]
        )
        rows.append(
            {
                "change": name,
                "median bits": np.median(moved),
                "95th percentile": np.percentile(moved, 95),
            }
        )
        rows[-1][f"found, at {bits} bits"] = (moved <= bits).mean()
    return pd.DataFrame(rows)


def reopened(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


def cropped(image: Image.Image, share: float) -> Image.Image:
    across, down = image.width * share, image.height * share
    return image.crop(
        (round(across), round(down), round(image.width - across), round(image.height - down))
    )


def image_problems(pictures: list[Image.Image], params: AuditParams) -> pd.DataFrame:
    """The share of images that are reported once all of them are spoilt,
    and of the untouched ones."""
    spoilt: dict[tuple[str, str], Callable[[Image.Image], Image.Image]] = {
        ("blurry", "untouched"): lambda image: image,
        **{
            ("blurry", f"Gaussian blur, {r} pixels"): lambda image, r=r: image.filter(
                ImageFilter.GaussianBlur(r)
            )
            for r in (1, 2, 4, 8)
        },
        ("dark", "untouched"): lambda image: image,
        **{
            ("dark", f"{share:.0%} of the light"): lambda image, s=share: image.point(
                lambda v: int(s * v)
            )
            for share in (0.5, 0.3, 0.2)
        },
        ("light", "untouched"): lambda image: image,
        ("light", "96 % white"): lambda image: Image.blend(
            image, Image.new("RGB", image.size, "white"), 0.96
        ),
        ("low_information", "untouched"): lambda image: image,
        ("low_information", "one colour"): lambda image: Image.new("RGB", image.size, "grey"),
        ("odd_aspect_ratio", "untouched"): lambda image: image,
        ("odd_aspect_ratio", "a third of the width"): lambda image: image.resize(
            (max(image.width // 3, 1), image.height)
        ),
    }
    rows = []
    for (kind, how), spoil in spoilt.items():
        changed = [spoil(image) for image in pictures]
        found = find_image_problems(
            pd.DataFrame(map(measure, changed)), {kind: getattr(params.thresholds, kind)}
        )
        theirs = cleanvisions_blurry(changed) if kind == "blurry" else ""
        rows.append(
            {
                "problem": kind,
                "images": how,
                "reported": f"{len(found) / len(changed):.3f}",
                "by cleanvision's blur": theirs,
            }
        )
    return pd.DataFrame(rows)


def cleanvisions_blurry(pictures: list[Image.Image]) -> str:
    settings = ImagePropertyIssueManager().get_default_params()["blurry"]
    blurriness = BlurrinessProperty()
    measured = pd.DataFrame([blurriness.calculate(image) for image in pictures])
    scores = blurriness.get_scores(measured, "blurry", **settings).iloc[:, 0]
    return f"{(scores < settings['threshold']).mean():.3f}"


if __name__ == "__main__":
    main()
