import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages import decode, split
from tests.helpers.tiny_sources import build, class_folders, encode, picture, write_params
from transfer.dataset.manifest import SPLITS, read_manifest, split_rows
from transfer.runtime.errors import PipelineError

FILES = class_folders(cat=6, dog=8)


def run_split(source: Path, *, size: int = 32, interpolation: str = "bilinear") -> None:
    write_params(
        Path(),
        split={"source": str(source), "train": 6, "validation": 4, "test": 3, "max_rejected": 1},
        backbone={"image_size": size},
        decode={"interpolation": interpolation},
    )
    split.main()


def refusal() -> str:
    with pytest.raises(PipelineError) as error:
        decode.main()
    assert not [path for path in Path("data/images").rglob("*") if path.is_file()]
    return str(error.value)


@pytest.mark.parametrize("kind", ["folder", "set.zip", "set.tar.gz"])
@pytest.mark.parametrize(
    ("size", "interpolation"), [(32, "bilinear"), (33, "nearest"), (40, "bicubic"), (32, "lanczos")]
)
def test_rows_are_the_manifests_images_resized_by_pillow(project, kind, size, interpolation):
    run_split(
        build(project / kind, dict(reversed(FILES.items()))), size=size, interpolation=interpolation
    )
    decode.main()
    manifest = read_manifest()
    assert sorted(str(path) for path in Path("data/images").rglob("*.*")) == [
        "data/images/test/images.npy",
        "data/images/train/images.npy",
        "data/images/validation/images.npy",
    ]
    for part in SPLITS:
        paths = split_rows(manifest, part)["path"]
        array = np.load(f"data/images/{part}/images.npy")
        assert array.shape == (len(paths), size, size, 3)
        assert array.dtype == np.uint8
        for row, path in zip(array, paths, strict=True):
            image = Image.open(io.BytesIO(FILES[path])).resize(
                (size, size), Image.Resampling[interpolation.upper()]
            )
            assert (row == np.asarray(image)).all()


def test_files_outside_the_manifest_are_passed_over(project):
    source = build(project / "set", FILES | {"cat/bad.png": b""})
    run_split(source)
    build(source, {"cat/later.png": b"text", "cow/1.png": b""})
    decode.main()
    assert len(np.load("data/images/train/images.npy")) == 6


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_of_two_members_of_one_name_the_first_counts_as_in_the_split(project):
    source = build(project / "set.zip", FILES)
    with zipfile.ZipFile(source, "a") as archive:
        archive.writestr("cat/0.png", encode(picture(99)))
    run_split(source)
    decode.main()
    assert len(np.load("data/images/train/images.npy")) == 6


def used_path() -> str:
    return split_rows(read_manifest(), "train")["path"].iloc[0]


def test_an_image_that_vanished_is_named_and_no_array_is_left(project):
    source = build(project / "set", FILES)
    run_split(source)
    (source / used_path()).unlink()
    assert refusal() == (
        f"{source}: 1 of the manifest's images are gone or can no longer be read, the first being "
        f"'{used_path()}'; run `dvc repro` again"
    )


def test_an_image_that_became_a_link_is_not_followed(project):
    source = build(project / "set", FILES)
    run_split(source)
    (source / used_path()).rename(project / "elsewhere.png")
    (source / used_path()).symlink_to(project / "elsewhere.png")
    assert f"can no longer be read, the first being '{used_path()}'" in refusal()


@pytest.mark.parametrize(
    "content", [b"", b"text", encode(picture(99))], ids=["emptied", "no image", "another image"]
)
def test_an_image_that_changed_is_named_and_no_array_is_left(project, content):
    source = build(project / "set", FILES)
    run_split(source)
    (source / used_path()).write_bytes(content)
    assert (
        refusal()
        == f"{source}: '{used_path()}' is not the file that `split` saw; run `dvc repro` again"
    )


def test_a_failure_keeps_the_arrays_there_were(project):
    source = build(project / "set", FILES)
    run_split(source)
    decode.main()
    before = {path: path.read_bytes() for path in Path("data/images").rglob("*.npy")}
    (source / used_path()).unlink()
    with pytest.raises(PipelineError):
        decode.main()
    assert {path: path.read_bytes() for path in Path("data/images").rglob("*.npy")} == before


def test_a_source_that_is_gone_is_named(project):
    source = build(project / "set.zip", FILES)
    run_split(source)
    source.unlink()
    assert "set.zip': no such folder or archive" in refusal()


def test_without_a_manifest_it_says_what_to_run(project):
    build(project / "set", FILES)
    write_params(Path(), split={"source": "set"})
    assert "data/manifest/manifest.csv is missing; run `dvc repro split`" in refusal()


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        (
            {"decode": {"interpolation": "cubic"}},
            "decode.interpolation = 'cubic': Input should be 'nearest', 'bilinear', 'bicubic' or "
            "'lanczos'",
        ),
        (
            {"backbone": {"image_size": 0}},
            "backbone.image_size = 0: Input should be greater than 0",
        ),
        (
            {"backbone": {"image_size": "big"}},
            "backbone.image_size = 'big': Input should be a valid integer",
        ),
    ],
)
def test_a_parameter_that_cannot_work_is_refused_with_its_value(project, sections, words):
    write_params(Path(), **sections)
    assert words in refusal()
