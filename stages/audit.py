"""Audit the training and validation images: label errors, near-duplicates, outliers and low-quality
images.

No pixel, feature or label of the test split is read. Only its perceptual hashes are compared,
because a near-copy of a test image among the training images inflates the scores.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt
from threadpoolctl import threadpool_limits

from transfer.audit.feature_map import draw_rows, map_features
from transfer.audit.image_quality import find_image_problems, measure
from transfer.audit.issues import ISSUES, Issue, count_issues, write_issues
from transfer.audit.label_errors import find_label_errors, predict_out_of_fold
from transfer.audit.near_duplicates import find_near_duplicates
from transfer.audit.outliers import find_outliers
from transfer.dataset.manifest import read_manifest, split_rows
from transfer.dataset.perceptual_hashes import read_hashes
from transfer.decoding.rgb import Colour, load_pixel_rules
from transfer.decoding.value_ranges import PixelRules
from transfer.engines.local import LocalEngine
from transfer.features.pooling import read_pooled
from transfer.runtime.files import write_csv, write_json
from transfer.runtime.params import Params, load_param, load_params
from transfer.runtime.progress import progress_bar
from transfer.runtime.resource_params import ResourceParams
from transfer.runtime.stage import run_stage
from transfer.sources.verified_images import map_verified_images
from transfer.storage.params import Shards

AUDITED = ("train", "validation")
FEATURE_MAP = Path("data/audit/feature_map.csv")
METRICS = Path("metrics/audit.json")
Score = Field(ge=0, le=1)


class Thresholds(Params):
    dark: float = Score
    light: float = Score
    blurry: float = Score
    low_information: float = Score
    odd_aspect_ratio: float = Score
    odd_size: float = Score


class AuditParams(Params):
    near_duplicate_bits: int = Field(ge=0, le=16)
    folds: int = Field(ge=2)
    neighbours: PositiveInt
    outlier_fence: NonNegativeFloat
    thresholds: Thresholds
    map_images: PositiveInt
    seed: NonNegativeInt


def main() -> None:
    """Look for label errors, near-copies, outliers and bad pictures, and list them."""
    params = load_params(AuditParams, "audit")
    source = load_param(str, "split.source")
    follow_links = load_param(bool, "split.follow_links")
    rules = load_pixel_rules(load_param(Colour, "decode.background"))
    shards = Shards(load_params(ResourceParams, "resources").shards_url)
    manifest = read_manifest()
    images = pd.concat([split_rows(manifest, split) for split in AUDITED], ignore_index=True)
    test = split_rows(manifest, "test")[["path", "split"]]
    hashes = read_hashes(pd.concat([images["path"], test["path"]]))
    with threadpool_limits(1):  # more threads would change the last bits of the sums
        features = read_pooled(manifest, AUDITED, shards)
        labels, groups = (images[name].to_numpy() for name in ("class_name", "group"))
        predicted = predict_out_of_fold(features, labels, groups, params.folds, params.seed)
        issues = [
            *find_near_duplicates(images, test, hashes, params.near_duplicate_bits),
            *find_label_errors(predicted, labels),
            *find_outliers(
                features, images["path"], params.neighbours, params.outlier_fence, params.seed
            ),
            *find_image_problems(
                measure_images(source, images, rules, follow_links=follow_links),
                params.thresholds.model_dump(),
            ),
        ]
        write_issues(issues, images)
        write_feature_map(features, images, issues, params)
    write_json(METRICS, summarise(issues, len(images), len(predicted)))
    report(issues, len(images), len(predicted))


def measure_images(
    source: str, images: pd.DataFrame, rules: PixelRules, *, follow_links: bool
) -> pd.DataFrame:
    """The result of `measure` for each image, in the order of the images. Raises PipelineError if
    the source has changed since `split`."""
    measured = dict(
        progress_bar(
            map_verified_images(
                measure,
                source,
                images,
                LocalEngine(),
                rules,
                follow_links=follow_links,
            ),
            desc="audit: images",
            total=len(images),
            unit=" images",
        )
    )
    return pd.DataFrame([measured[path] for path in images["path"]])


def write_feature_map(
    features: np.ndarray, images: pd.DataFrame, issues: list[Issue], params: AuditParams
) -> None:
    """Write one row per point: x, y, class_name, split, path, and the names of its issues,
    separated by spaces."""
    strata = np.unique(images["class_name"] + "/" + images["split"], return_inverse=True)[1]
    rows = draw_rows(strata, params.map_images, np.random.default_rng(params.seed))
    points = map_features(features[rows], params.seed)
    kinds = (
        pd.Series(
            [issue.kind for issue in issues], index=[issue.row for issue in issues], dtype=str
        )
        .groupby(level=0)
        .agg(" ".join)
    )
    about = (
        images.assign(issues=kinds)
        .fillna({"issues": ""})[["class_name", "split", "path", "issues"]]
        .iloc[rows]
    )
    table = [
        (f"{x:.6f}", f"{y:.6f}", *row)
        for (x, y), row in zip(
            points.tolist(), about.itertuples(index=False, name=None), strict=True
        )
    ]
    write_csv(FEATURE_MAP, ["x", "y", "class_name", "split", "path", "issues"], table)


def summarise(issues: list[Issue], n: int, n_judged: int) -> dict[str, int]:
    """The metrics: number of audited images, number whose label could be judged, number with any
    issue, and number with each kind of issue."""
    with_issues = len({issue.row for issue in issues})
    return {
        "images": n,
        "labels_judged": n_judged,
        "images_with_issues": with_issues,
    } | count_issues(issues)


def report(issues: list[Issue], n: int, n_judged: int) -> None:
    """Print two lines: what was found, and what could not be audited."""
    counts = [
        f"{count} {kind.replace('_', ' ')}" for kind, count in count_issues(issues).items() if count
    ]
    print(f"audit: {n:,} images: {', '.join(counts) or 'no issue'}; {ISSUES}")
    if n_judged < n:
        print(
            f"audit: labels that could not be judged: {n - n_judged:,}; their classes have images "
            "of one group only, or the features tell the classes apart no better than their "
            "frequencies do"
        )


if __name__ == "__main__":
    run_stage(main)
