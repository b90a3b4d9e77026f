"""Tiny worlds: images of a few pixels in class folders and archives,
built in a temporary folder."""

import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

REPOSITORY = Path(__file__).parents[2]
TRAINING = {  # every training parameter, with no option switched on
    "epochs": 3,
    "batch_size": 4,
    "learning_rate": 0.01,
    "patience": None,
    "checkpoint": "last",
    "class_weight": None,
    "optimizer": "rmsprop",
    "weight_decay": 0,
    "l2": 0,
    "label_smoothing": 0,
    "mixup": 0,
    "schedule": "constant",
    "warmup_epochs": 0,
    "plateau_factor": 0.5,
    "plateau_patience": 3,
    "ema_momentum": None,
    "seed": 0,
}


def picture(seed: int, width: int = 12, height: int = 8) -> Image.Image:
    """Random RGB pixels: another seed gives other bytes and another perceptual hash."""
    return Image.fromarray(
        np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    )


def encode(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def class_folders(root: str = "", **counts: int) -> dict[str, bytes]:
    """Files by path: `class_folders(cat=3, dog=4)` has cat/0.png to cat/2.png and dog/0.png to
    dog/3.png, all different."""
    seeds = iter(range(sum(counts.values())))
    return {
        f"{root}{name}/{i}.png": encode(picture(next(seeds)))
        for name, count in counts.items()
        for i in range(count)
    }


def build(path: Path, files: dict[str, bytes]) -> Path:
    """Write the files as a folder, or as an archive where `path` ends in .zip, .tar, .tar.gz and
    the like."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    elif ".tar" in path.suffixes:
        compression = path.suffix.removeprefix(".").removeprefix("tar")
        with tarfile.open(path, f"w:{compression}") as archive:
            for name, content in files.items():
                add_to_tar(archive, name, content)
    else:
        path.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(content)
    return path


def add_to_tar(archive: tarfile.TarFile, name: str, content: bytes = b"", **fields) -> None:
    """Add a member, of another type (a link, say) where `fields` of its TarInfo say so."""
    member = tarfile.TarInfo(name)
    member.size = len(content)
    for field, value in fields.items():
        setattr(member, field, value)
    archive.addfile(member, io.BytesIO(content))


def write_params(folder: Path, **sections: dict) -> None:
    """The repository's params.yaml with some values changed:
    `write_params(folder, split={"seed": 1})`."""
    params = yaml.safe_load((REPOSITORY / "params.yaml").read_text(encoding="utf-8"))
    for section, changes in sections.items():
        params[section] |= changes
    (folder / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
