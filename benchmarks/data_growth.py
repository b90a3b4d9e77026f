"""Time, memory and disk as the data grows: the whole pipeline under DVC on made-up images, in
folders of its own.

    python -m benchmarks.data_growth --images 1000 10000 100000
    python -m benchmarks.data_growth --images 10000 --added 10000 --keep /tmp/worlds

Each size gets a copy of the project's code with small settings (SETTINGS) and a `.zip` of that many
40 x 40 PNGs in two classes. Prints, by stage and size, seconds and peak resident memory as `logs/`
has them; by size what lies on the disk after `dvc repro`, and what DVC takes when nothing has
changed. `--added N` then adds ADDED images to the archive of the world of N images, and compares
the seconds of three runs of `extract`: with their rows missing, with none missing, and ADDED images
alone beside an empty store.
"""

import argparse
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from PIL import Image
from tqdm import tqdm

from transfer.backbones.converted import NETWORK
from transfer.backbones.registry import WEIGHTS
from transfer.dataset.manifest import SPLITS
from transfer.runtime.dvc_files import stage_names
from transfer.storage.array_paths import array_file, inputs_path

ROOT = Path(__file__).parent.parent
LEFT_OUT = {"data", "metrics", "plots", "dvc.lock", "tests", "docs"}
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
AUTHOR = {
    f"GIT_{who}_{what}": "scale@example.com"
    for who in ("AUTHOR", "COMMITTER")
    for what in ("NAME", "EMAIL")
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
        worlds = {n: Path(folder).absolute() / f"world-{n}" for n in arguments.images}
        measured = {n: measure(world, n) for n, world in worlds.items()}
        print_tables(measured)
        if arguments.added:
            print_added(
                measure_added(
                    worlds[arguments.added], arguments.added, Path(folder).absolute() / "alone"
                )
            )


def measure(world: Path, n: int) -> dict[str, pd.Series]:
    """Run the pipeline on n images: seconds and peak MB by stage,
    and what there is to say of the whole."""
    make_project(world)
    archive = world / ARCHIVE
    add_images(archive, range(n))
    seconds = {
        "first": dvc(world, "repro"),
        "dvc status": dvc(world, "status"),
        "idle dvc repro": dvc(world, "repro"),
    }
    stages = stage_names(yaml.safe_load((world / "dvc.yaml").read_text(encoding="utf-8"))["stages"])
    logs = pd.DataFrame(
        {
            stage: json.loads((world / "logs" / f"{stage}.json").read_text(encoding="utf-8"))
            for stage in stages
        }
    ).T
    whole = {
        "archive, MB": archive.stat().st_size / 1e6,
        "data/ and models/, MB": megabytes(world / "data", world / "models"),
        ".dvc/cache, MB": megabytes(world / ".dvc" / "cache"),
        ".rows, MB": megabytes(world / ".rows"),
        "first dvc repro, s": seconds["first"],
        "dvc status, s": seconds["dvc status"],
        "idle dvc repro, s": seconds["idle dvc repro"],
    }
    return {
        "Seconds": logs["seconds"].astype(float),
        "Peak resident memory, MB": logs["peak_bytes"].astype(float) / 1e6,
        "Disk, and DVC": pd.Series(whole),
    }


def make_project(world: Path) -> None:
    """A Git repository with the project's code as it is now and the settings of this benchmark;
    no data."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    tracked = subprocess.run(
        listed, cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.splitlines()
    for name in tracked:
        if (ROOT / name).is_file() and name.split("/")[0] not in LEFT_OUT:
            (world / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, world / name)
    params = yaml.safe_load((world / "params.yaml").read_text(encoding="utf-8"))
    params = {section: values | SETTINGS.get(section, {}) for section, values in params.items()}
    (world / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    for words in (
        ["init", "--quiet"],
        ["add", "--all"],
        ["commit", "--quiet", "--message", "settings"],
    ):
        subprocess.run(["git", *words], cwd=world, check=True, env=os.environ | AUTHOR)  # noqa: S607, whichever Git there is


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


def dvc(world: Path, *words: str) -> float:
    """Run a DVC command in the world; its seconds."""
    started = time.time()
    subprocess.run([sys.executable, "-m", "dvc", *words], cwd=world, check=True, env=environment())
    return time.time() - started


def environment() -> dict[str, str]:
    """This one, with this Python in front: the commands of dvc.yaml are `python -m ...`."""
    return os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


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


def measure_added(world: Path, n: int, alone: Path) -> dict[str, float]:
    """Seconds of `extract` after images were added to a reproduced world, again with all rows
    known, and of the added number alone."""
    add_images(world / ARCHIVE, range(n, n + ADDED))
    dvc(world, "repro", "split", "decode")
    seconds = {"added": extract(world), "known": extract(world)}
    make_project(alone)
    for folder in (WEIGHTS.parent, NETWORK.parent):
        shutil.copytree(world / folder, alone / folder)
    for split, n_images in zip(SPLITS, (ADDED - 4, 2, 2), strict=True):
        file = array_file(inputs_path(split, "images"), "npy")
        (alone / file).parent.mkdir(parents=True)
        images = np.load(world / file, mmap_mode="r", allow_pickle=False)
        np.save(alone / file, images[:n_images])
    return seconds | {"alone": extract(alone)}


def extract(world: Path) -> float:
    """Run the stage without DVC; its seconds."""
    subprocess.run(
        [sys.executable, "-m", "stages.extract"], cwd=world, check=True, env=environment()
    )
    return json.loads((world / "logs" / "extract.json").read_text(encoding="utf-8"))["seconds"]


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
