"""The audit of small worlds with planted faults. (Its parts: test_parts.py.)"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from threadpoolctl import threadpool_limits

from stages import audit
from tests.helpers.split_stage import run_split
from tests.helpers.tiny_sources import REPOSITORY, build, encode, picture, write_params
from transfer.audit.image_quality import measure
from transfer.audit.issues import KINDS
from transfer.dataset.manifest import SPLITS, class_names, read_manifest, split_rows
from transfer.runtime.errors import PipelineError

COLUMNS = ["path", "split", "class_name", "issue", "score", "detail"]
COUNTS = {"train": 14, "validation": 6, "test": 6}
SIZE = 40


@pytest.fixture(autouse=True)
def one_thread():
    """As in the stage; and two threads of t-SNE on a busy machine wait for each other
    for seconds."""
    with threadpool_limits(1):
        yield


def noise(seed: int) -> bytes:
    return encode(picture(seed, SIZE, SIZE))


# Forty audited images of two classes and twelve of the test split; nothing is wrong with any.
CLEAN = {
    f"{split}/{name}/{i}.png": noise(1000 * s + 100 * c + i)
    for s, split in enumerate(SPLITS)
    for c, name in enumerate(("cat", "dog"))
    for i in range(COUNTS[split])
}


def write_features(looks: dict[str, str] | None = None, spread: float = 0.3) -> None:
    """Features of each split as `extract` writes them, scattered around a centre a class; `looks`
    gives images another class's."""
    manifest = read_manifest()
    names = class_names(manifest)
    centres = np.random.default_rng(0).normal(size=(len(names), 16))
    for split in SPLITS:
        paths, labels = (split_rows(manifest, split)[column] for column in ("path", "class_name"))
        shown = [
            names.index((looks or {}).get(path, label))
            for path, label in zip(paths, labels, strict=True)
        ]
        for kind, side in (("features", 2), ("cut", 4)):
            rng = np.random.default_rng(1)
            vectors = centres[shown] + spread * rng.normal(size=(len(shown), 16))
            Path("data/features", split).mkdir(parents=True, exist_ok=True)
            tiled = np.broadcast_to(vectors[:, None, None], (len(shown), side, side, 16))
            np.save(f"data/features/{split}/{kind}.npy", tiled.astype("float32"))


def run_audit(
    project: Path,
    files: dict[str, bytes],
    looks: dict[str, str] | None = None,
    kind: str = "set",
    **params,
) -> pd.DataFrame:
    """Split the files, make features, audit: the table of issues."""
    run_split(build(project / kind, files))
    write_features(looks)
    return audit_again(source=kind, **params)


def audit_again(source: str = "set", **params) -> pd.DataFrame:
    write_params(Path(), split={"source": source}, audit=params)
    audit.main()
    return pd.read_csv("data/audit/issues.csv", keep_default_na=False)


def metrics() -> dict:
    return json.loads(Path("metrics/audit.json").read_text())


def outputs() -> list[bytes]:
    return [
        Path(name).read_bytes()
        for name in ("data/audit/issues.csv", "data/audit/feature_map.csv", "metrics/audit.json")
    ]


def found(table: pd.DataFrame) -> dict[str, set[str]]:
    """The paths by issue."""
    return {issue: set(rows["path"]) for issue, rows in table.groupby("issue")}


# What it finds


def test_a_clean_world_has_no_issue_and_an_empty_table(project, capsys):
    table = run_audit(project, CLEAN)
    assert list(table.columns) == COLUMNS
    assert table.empty
    assert metrics() == {
        "images": 40,
        "labels_judged": 40,
        "images_with_issues": 0,
    } | dict.fromkeys(KINDS, 0)
    assert "audit: 40 images: no issue; data/audit/issues.csv" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["set", "set.zip", "set.tar.gz"])
def test_flipped_labels_are_found_with_the_class_that_they_look_like(project, kind, capsys):
    flipped = {"train/cat/3.png": "dog", "train/dog/7.png": "cat", "validation/dog/2.png": "cat"}
    table = run_audit(project, CLEAN, flipped, kind)
    assert found(table) == {"label_error": set(flipped)}
    for row in table.itertuples():
        assert row.detail.startswith(f"looks like {flipped[row.path]} (0.")
        assert (row.split, row.class_name) == tuple(row.path.split("/")[:2])
        assert 0 <= row.score < 0.5
    assert table["score"].is_monotonic_increasing
    assert metrics()["label_error"] == metrics()["images_with_issues"] == 3
    assert "audit: 40 images: 3 label error; data/audit/issues.csv" in capsys.readouterr().out


def small_in_white() -> Image.Image:
    image = Image.new("RGB", (SIZE, SIZE), "white")
    image.paste((200, 30, 30), (3, 3, 6, 6))
    return image


BAD = {
    "dark": picture(555, SIZE, SIZE).point(lambda value: value // 6),
    "light": picture(555, SIZE, SIZE).point(lambda value: 247 + value // 32),
    "blurry": picture(555, 5, 5).resize((SIZE, SIZE), Image.Resampling.BICUBIC),
    "low_information": small_in_white(),
    "odd_aspect_ratio": picture(555, 2 * SIZE, SIZE // 2),  # as many pixels as the others
    "odd_size": picture(555, 4 * SIZE, 4 * SIZE),
}


@pytest.mark.parametrize("problem", BAD)
def test_a_bad_picture_is_found_and_no_other_one(project, problem):
    table = run_audit(project, CLEAN | {"train/dog/5.png": encode(BAD[problem])})
    assert problem in found(table)
    assert set(table["path"]) == {"train/dog/5.png"}
    assert table["detail"].str.fullmatch(r"\d+ x \d+ pixels").all()
    assert table["score"].between(0, 0.5).all()
    assert metrics()[problem] == 1


def test_thresholds_decide_what_is_reported(project):
    files = CLEAN | {"train/dog/5.png": encode(BAD["dark"])}
    none = dict.fromkeys(BAD, 0)
    assert run_audit(project, files, thresholds=none).empty
    assert found(audit_again(thresholds=none | {"dark": 0.32})) == {"dark": {"train/dog/5.png"}}
    assert len(audit_again(thresholds=none | {"dark": 1})) == 40


LOOK = Image.fromarray(
    np.random.default_rng(99).integers(0, 256, (5, 5, 3), dtype=np.uint8)
).resize((SIZE, SIZE), Image.Resampling.NEAREST)


def changed_a_little() -> Image.Image:
    image = LOOK.copy()
    image.paste((128, 128, 128), (18, 18, 24, 20))
    return image


@pytest.mark.parametrize(
    ("one", "other", "issues"),
    [
        ("train/cat/0.png", "train/dog/0.png", {"near_duplicate_in_other_class"}),
        ("train/cat/0.png", "validation/cat/0.png", {"near_duplicate_in_other_split"}),
        (
            "train/cat/0.png",
            "validation/dog/0.png",
            {"near_duplicate_in_other_class", "near_duplicate_in_other_split"},
        ),
        ("train/cat/0.png", "test/cat/0.png", {"near_duplicate_in_other_split"}),
        # the test label is not looked at
        ("train/cat/0.png", "test/dog/0.png", {"near_duplicate_in_other_split"}),
        ("train/cat/0.png", "train/cat/1.png", set()),
        ("test/cat/0.png", "test/dog/0.png", set()),
    ],
)
def test_near_copies_in_other_classes_and_splits_are_found(project, one, other, issues):
    table = run_audit(project, CLEAN | {one: encode(LOOK), other: encode(changed_a_little())})
    assert set(table["issue"]) == issues
    audited = {path for path in (one, other) if not path.startswith("test")}
    for issue, paths in found(table).items():
        assert paths == audited
        row = table[(table["path"] == one) & (table["issue"] == issue)].iloc[0]
        side = other.split("/")[0 if issue.endswith("split") else 1]
        bits = round(row["score"] * 64)
        assert 0 < bits <= 6
        assert row["detail"] == f"{side}: {other} ({bits} of 64 bits differ)"
    assert audit_again(near_duplicate_bits=0).empty


def test_an_image_like_no_other_is_an_outlier(project):
    run_split(build(project / "set", CLEAN))
    write_features()
    row = split_rows(read_manifest(), "train").query("path == 'train/dog/4.png'").index[0]
    for kind in ("features", "cut"):
        features = np.load(f"data/features/train/{kind}.npy")
        features[row] = -features.mean(axis=0)
        np.save(f"data/features/train/{kind}.npy", features)
    table = audit_again()
    assert found(table)["outlier"] == {"train/dog/4.png"}
    assert (
        table.query("issue == 'outlier'")["detail"]
        .str.match(r"the nearest is (train|validation)/(cat|dog)/\d+\.png")
        .all()
    )
    assert audit_again(outlier_fence=1000).query("issue == 'outlier'").empty


# What it leaves alone, and what repeats


def test_nothing_of_the_test_split_but_its_hashes_is_read(project):
    flipped = {"train/cat/3.png": "dog"}
    run_audit(project, CLEAN | {"test/dog/0.png": CLEAN["train/dog/0.png"]}, flipped)
    before = outputs()
    assert b"near_duplicate_in_other_split" in before[0]
    for path in [*Path("data/features/test").iterdir(), *(project / "set/test").rglob("*.png")]:
        path.unlink()
    manifest = pd.read_csv("data/manifest/manifest.csv")
    is_test = manifest["split"] == "test"
    manifest.loc[is_test, ["class_name", "label", "group"]] = ["cat", 0, 0]
    manifest.loc[is_test, "sha256"] = "0" * 64
    manifest.to_csv("data/manifest/manifest.csv", index=False)
    audit_again()
    assert outputs() == before


def test_unused_images_are_not_looked_at(project):
    files = {
        f"{name}/{i}.png": noise(100 * c + i)
        for c, name in enumerate(("cat", "dog"))
        for i in range(12)
    }
    manifest = run_split(build(project / "set", files), train=8, validation=4, test=4)
    write_features()
    unused = manifest.loc[manifest["split"] == "unused", "path"]
    for path in unused:
        (project / "set" / path).unlink()
    audit_again()
    assert metrics()["images"] == 12


MANY = {
    f"{split}/{name}/{i}.png": encode(picture(10_000 * s + 1000 * c + i, 16, 16))
    for s, split in enumerate(SPLITS)
    for c, name in enumerate(("cat", "dog"))
    for i in range({"train": 120, "validation": 20, "test": 2}[split])
}


def test_the_bytes_are_the_same_on_one_thread_and_on_many(project):
    run_split(build(project / "set.zip", MANY))
    write_features(spread=2)
    write_params(Path(), split={"source": "set.zip"})
    written = []
    for threads in ("1", "3"):
        limits = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), threads)
        subprocess.run(
            [sys.executable, "-c", "from stages import audit; audit.main()"],
            env=os.environ | limits | {"PYTHONPATH": str(REPOSITORY)},
            check=True,
            capture_output=True,
        )
        written.append(outputs())
    assert written[0] == written[1]
    assert len(pd.read_csv("data/audit/issues.csv")) > 0


def test_the_feature_map_has_a_row_an_image_with_its_issues(project):
    flipped = {"train/cat/3.png": "dog"}
    run_audit(project, CLEAN | {"train/cat/3.png": encode(BAD["dark"])}, flipped)
    points = pd.read_csv("data/audit/feature_map.csv", keep_default_na=False)
    assert list(points.columns) == ["x", "y", "class_name", "split", "path", "issues"]
    assert sorted(points["path"]) == sorted(path for path in CLEAN if not path.startswith("test"))
    assert points.set_index("path")["issues"].to_dict() == dict.fromkeys(points["path"], "") | {
        "train/cat/3.png": "label_error dark"
    }
    centre = points[["x", "y"]].groupby(points["class_name"]).transform("mean")
    assert (
        points[["x", "y"]].to_numpy().std() > np.abs(points[["x", "y"]] - centre).to_numpy().mean()
    )
    audit_again(map_images=7)
    assert len(pd.read_csv("data/audit/feature_map.csv")) == 7


# Bad input


@pytest.mark.parametrize(("split", "input_kind"), [("train", "features"), ("validation", "cut")])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_features_that_are_no_numbers_are_refused_by_row_and_name(
    project, split, input_kind, value
):
    run_split(build(project / "set", CLEAN))
    write_features()
    file = Path(f"data/features/{split}/{input_kind}.npy")
    features = np.load(file)
    features[3, 0, 1, 2] = value
    np.save(file, features)
    with pytest.raises(PipelineError) as error:
        audit_again()
    path = split_rows(read_manifest(), split)["path"][3]
    assert str(error.value) == (
        f"{file}: row 3 ({path!r}) holds NaN or infinity; delete the file and run `dvc repro "
        "extract`"
    )
    assert not Path("data/audit").exists()


def test_a_source_that_changed_since_the_split_is_refused(project):
    run_audit(project, CLEAN)
    before = outputs()
    (project / "set/train/cat/2.png").write_bytes(noise(77))
    with pytest.raises(
        PipelineError,
        match=r"set: 'train/cat/2\.png' is not the file that `split` saw; run `dvc repro` again",
    ):
        audit_again()
    (project / "set/train/cat/2.png").unlink()
    with pytest.raises(
        PipelineError,
        match=r"1 of the manifest's images are gone .* the first being 'train/cat/2\.png'",
    ):
        audit_again()
    assert outputs() == before


@pytest.mark.parametrize("value", [-0.1, 1.1, "dim", None])
def test_a_threshold_that_cannot_work_is_refused_with_its_value(project, value):
    write_params(Path(), audit={"thresholds": dict.fromkeys(BAD, 0.3) | {"dark": value}})
    with pytest.raises(PipelineError, match=r"params\.yaml: audit\.thresholds\.dark = "):
        audit.main()


def test_images_of_every_kind_are_measured(project):
    grey16 = Image.fromarray(
        np.random.default_rng(0).integers(0, 2**16, (SIZE, SIZE), dtype=np.uint16)
    )
    see_through = picture(8, SIZE, SIZE).convert("RGBA")
    see_through.putalpha(90)
    odd = {
        "grey.png": encode(picture(1, SIZE, SIZE).convert("L")),
        "grey16.png": encode(grey16),
        "palette.png": encode(picture(2, SIZE, SIZE).convert("P")),
        "alpha.png": encode(see_through),
        "bilevel.png": encode(picture(3, SIZE, SIZE).convert("1")),
        "cmyk.jpg": encode(picture(4, SIZE, SIZE).convert("CMYK"), "JPEG"),
        "pixel.png": encode(Image.new("RGB", (1, 1), "red")),
        "line.png": encode(picture(6, 900, 1)),
        "black.png": encode(Image.new("RGB", (SIZE, SIZE))),
    }
    table = run_audit(
        project, CLEAN | {f"train/cat/{name}": content for name, content in odd.items()}
    )
    assert metrics()["images"] == 49
    assert (
        "train/cat/black.png"
        in found(table)["dark"] & found(table)["blurry"] & found(table)["low_information"]
    )
    assert found(table)["odd_aspect_ratio"] == {"train/cat/line.png"}
    assert {"train/cat/pixel.png"} <= found(table)["odd_size"]
    assert table["score"].between(0, 1).all()


def test_a_large_image_is_measured_as_a_small_one_is():
    """What is done to bound the memory moves no score by much."""
    pattern = picture(3, 40, 40)
    small, large = (
        measure(pattern.resize((side, side), Image.Resampling.NEAREST)) for side in (400, 4000)
    )
    for name in ("brightness_perc_99", "brightness_perc_5", "sharpness", "entropy", "aspect_ratio"):
        assert small[name] == pytest.approx(large[name], rel=0.1)


def test_labels_that_were_not_judged_are_reported(project, capsys):
    run_split(build(project / "set", CLEAN))
    write_features(spread=0)
    for file in Path("data/features").rglob("*.npy"):
        np.save(file, np.ones_like(np.load(file)))
    assert audit_again().empty
    assert metrics()["labels_judged"] == 0
    assert "audit: labels that could not be judged: 40; " in capsys.readouterr().out
