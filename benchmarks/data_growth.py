"""Time, memory and disk as the data grows: the whole pipeline under DVC on made-up images, in
folders of its own.

    python -m benchmarks.data_growth --images 1000 10000 100000
    python -m benchmarks.data_growth --images 10000 --added 10000 --keep /tmp/worlds

Each size gets a clone of the last commit with small settings (SETTINGS) and a `.zip` of that many
40 x 40 PNGs in two classes. Prints, by stage and size, seconds and peak resident memory as `logs/`
has them; by size what lies on the disk after `dvc repro`, and what DVC takes when nothing has
changed. `--added N` then adds ADDED images to the archive of the world of N images, and compares
the seconds of three runs of `extract`: with their rows missing, with none missing, and ADDED images
alone beside an empty store.
"""

import argparse
import io
import json
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from PIL import Image
from tqdm import tqdm

from benchmarks.measuring import DVC, Place, clone_commit
from transfer.backbones.converted import NETWORK
from transfer.backbones.registry import WEIGHTS
from transfer.dataset.manifest import SPLITS
from transfer.runtime.dvc_files import stage_names
from transfer.storage.array_paths import array_file, inputs_path

ROOT = Path(__file__).parent.parent
ARCHIVE = "images.zip"
SIDE, CELLS = 40, 8
ADDED = 10
SETTINGS = {
    "split": {"source": ARCHIVE, "train": 0.5, "validation": 0.25, "test": 0.25},
    "backbone": {"image_size": 32},
    "weights": {"source": "random"},
    "augment": {"views": 1},
    "train_scratch": {"epochs": 1, "batch_size": 100},
    "train_head": {"epochs": 1, "batch_size": 100},
    "train_augmented": {"epochs": 1, "batch_size": 100},
    "finetune": {"epochs": 1, "batch_size": 100},
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, nargs="+", default=[1000, 10000])
    parser.add_argument(
        "--keep",
        type=Path,
        help="a folder for the worlds, which then stay (default: a temporary one)",
    )
    parser.add_argument(
        "--added",
        type=int,
        metavar="N",
        help=f"add {ADDED} images to the world of N, one of --images",
    )
    arguments = parser.parse_args()
    if arguments.added and arguments.added not in arguments.images:
        parser.error(f"--added {arguments.added} is none of --images")
    with nullcontext(arguments.keep) if arguments.keep else tempfile.TemporaryDirectory() as folder:
        within = Path(folder).absolute()
        worlds = {n: make_project(within / f"world-{n}") for n in arguments.images}
        print_tables({n: measure(world, n) for n, world in worlds.items()})
        if arguments.added:
            alone = make_project(within / "alone")
            print_added(measure_added(worlds[arguments.added], arguments.added, alone))


def measure(world: Place, n: int) -> dict[str, pd.Series]:
    """Run the pipeline on n images: seconds and peak MB by stage,
    and what there is to say of the whole."""
    folder = world.folder
    add_images(folder / ARCHIVE, range(n))
    first, status, idle = (world.run([*DVC, word]).seconds for word in ("repro", "status", "repro"))
    described = yaml.safe_load((folder / "dvc.yaml").read_text(encoding="utf-8"))
    stages = stage_names(described["stages"])
    logs = pd.DataFrame({stage: read_log(folder, stage) for stage in stages}).T
    whole = {
        "archive, MB": (folder / ARCHIVE).stat().st_size / 1e6,
        "data/ and models/, MB": megabytes(folder / "data", folder / "models"),
        ".dvc/cache, MB": megabytes(folder / ".dvc" / "cache"),
        ".rows, MB": megabytes(folder / ".rows"),
        "first dvc repro, s": first,
        "dvc status, s": status,
        "idle dvc repro, s": idle,
    }
    return {
        "Seconds": logs["seconds"].astype(float),
        "Peak resident memory, MB": logs["peak_bytes"].astype(float) / 1e6,
        "Disk, and DVC": pd.Series(whole),
    }


def make_project(folder: Path) -> Place:
    """A clone of the last commit below a new folder, with the settings of this benchmark."""
    folder.mkdir(parents=True)
    world, _ = clone_commit(folder, ROOT)
    file = world.folder / "params.yaml"
    params = yaml.safe_load(file.read_text(encoding="utf-8"))
    params = {section: values | SETTINGS.get(section, {}) for section, values in params.items()}
    file.write_text(yaml.safe_dump(params), encoding="utf-8")
    return world


def read_log(folder: Path, stage: str) -> dict:
    return json.loads((folder / "logs" / f"{stage}.json").read_text(encoding="utf-8"))


def add_images(archive: Path, numbers: Iterable[int]) -> None:
    """Append images to a `.zip`, one in memory at a time; equal numbers give equal bytes."""
    with zipfile.ZipFile(archive, "a") as file:
        for number in tqdm(numbers, desc="drawing", unit=" images"):
            file.writestr(
                zipfile.ZipInfo(f"{('warm', 'cold')[number % 2]}/{number:07}.png"),
                draw_image(number),
            )


def draw_image(number: int) -> bytes:
    """A PNG of coloured squares, the even ones with little blue and the odd ones with little red;
    hardly two share a perceptual hash."""
    pixels = np.random.default_rng(number).integers(0, 256, (CELLS, CELLS, 3), dtype=np.uint8)
    pixels[..., 0 if number % 2 else 2] //= 2
    content = io.BytesIO()
    Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.NEAREST).save(
        content, "PNG", compress_level=1
    )
    return content.getvalue()


def megabytes(*folders: Path) -> float:
    return (
        sum(
            path.stat().st_size
            for folder in folders
            for path in folder.rglob("*")
            if path.is_file()
        )
        / 1e6
    )


def print_tables(measured: dict[int, dict[str, pd.Series]]) -> None:
    """A table a quantity: stages (or sizes and seconds of the whole) by numbers of images."""
    for title in next(iter(measured.values())):
        table = pd.DataFrame({f"{n:,} images": tables[title] for n, tables in measured.items()})
        print(f"\n{title}\n{table.round(1).to_string()}")


def measure_added(world: Place, n: int, alone: Place) -> dict[str, float]:
    """Seconds of `extract` after images were added to a reproduced world, again with all rows
    known, and of the added number alone."""
    add_images(world.folder / ARCHIVE, range(n, n + ADDED))
    world.run([*DVC, "repro", "split", "decode"])
    seconds = {"added": extract(world), "known": extract(world)}
    for folder in (WEIGHTS.parent, NETWORK.parent):
        shutil.copytree(world.folder / folder, alone.folder / folder)
    for split, n_images in zip(SPLITS, (ADDED - 4, 2, 2), strict=True):
        file = array_file(inputs_path(split, "images"), "npy")
        (alone.folder / file).parent.mkdir(parents=True)
        images = np.load(world.folder / file, mmap_mode="r", allow_pickle=False)
        np.save(alone.folder / file, images[:n_images])
    return seconds | {"alone": extract(alone)}


def extract(world: Place) -> float:
    """Run the stage without DVC; its seconds."""
    world.run([sys.executable, "-m", "stages.extract"])
    return read_log(world.folder, "extract")["seconds"]


def print_added(seconds: dict[str, float]) -> None:
    bound = 3 * seconds["alone"] + seconds["known"]
    print(
        f"\nSeconds of extract: {ADDED} images added {seconds['added']:.2f}, nothing missing "
        f"(reading the store) {seconds['known']:.2f}"
    )
    print(
        f"{ADDED} images alone, empty store {seconds['alone']:.2f}; 3 x alone + reading = "
        f"{bound:.2f}"
    )
    print(f"Within that bound: {'yes' if seconds['added'] <= bound else 'NO'}")


if __name__ == "__main__":
    main()
