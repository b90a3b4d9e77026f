"""The pipeline on a million made-up images and a cluster of two nodes on this machine, one of which
is killed on the way.

    python -m benchmarks.scale_study.million --folder /path/with/room --compare 20000 --calibrate

Images of 32 x 32 pixels lie in a bucket or in an archive and go through `split`, `decode`,
`extract` (a network of two layers) and `train_head`, with arrays in shards. A node is killed in the
midst of `extract`, without a word, and another one joins before the next stage. Prints the seconds
of each stage and the peak of memory of each kind of process, and whether the outputs are the same
bytes as those of a run in which nobody was killed: of all images, or of the first `--compare` of
them, which then run twice more. With `--calibrate` two smaller runs come first, from which the
simulation predicts the seconds of the others (`predicted_stages.py`); both are printed.
"""

import argparse
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import yaml
from PIL import Image

from benchmarks.scale_study.predicted_stages import (
    MAPS,
    Measured,
    StageCosts,
    calibrate,
    compare,
)
from benchmarks.scale_study.process_watch import ProcessWatch
from tests.helpers.local_cluster import Cluster, cluster
from transfer.storage.object_store import ObjectStore, is_url

ROOT = Path(__file__).parents[2]
CLASSES, SIDE = 10, 32
STAGES = ("split", "decode", "weights", "convert", "extract", "train_head")
OUTPUTS = ("data/manifest", "data/split", "data/images", "data/features", "models/head")
WRITERS = 16  # threads that store images
NODES = 2
CALIBRATION = (20_000, 100_000)  # images
CALIBRATED = ("split", "decode", "weights", "convert", "extract")
NETWORK = """
import sys, keras
keras.utils.set_random_seed(0)
image = keras.Input((32, 32, 3))
stem = keras.layers.Conv2D(8, 3, strides=4, activation="relu", name="stem")(image)
tail = keras.layers.Conv2D(16, 3, strides=2, activation="relu", name="tail")(stem)
keras.Model(image, tail).save(sys.argv[1])
"""


def main() -> None:
    arguments = parse()
    with working_folder(arguments.folder) as folder:
        network = write_network(folder)
        rows_a_shard = arguments.shard_rows

        def run_one(name: str, images: int, is_lossy: bool, stages: Sequence[str]) -> dict:
            source = write_source(folder / f"source-{images}", arguments.source, images)
            project = set_up(folder / name, source, network, rows_a_shard)
            result = run(project, is_lossy, stages)
            print_run(name, result)
            return result

        costs = None
        if arguments.calibrate is not None:
            small, large = arguments.calibrate or CALIBRATION
            pair = [
                (images, run_one(f"calibration {images}", images, False, CALIBRATED))
                for images in (small, large)
            ]
            costs = costs_of(pair, rows_a_shard)
            print(pd.DataFrame({stage: vars(each) for stage, each in costs.items()}).to_string())
        compared = min(arguments.compare or arguments.images, arguments.images)
        planned = runs(arguments.images, compared)
        results = {name: run_one(name, *each, STAGES) for name, *each in planned}
        if costs:
            done = [
                (f"{name}, {images:,} images", is_lossy, measured_of(images, results[name]))
                for name, images, is_lossy in planned
            ]
            table = compare(costs, done, NODES, rows_a_shard)
            print(f"\n{table.to_string(index=False)}", flush=True)
        lossy, whole = (results[name]["outputs"] for name, *_ in planned[-2:])
        differ = differing(lossy, whole)
        print(
            f"{compared:,} images, {len(lossy)} files: "
            f"{'the same bytes' if not differ else f'OTHER BYTES: {differ}'}"
        )
    sys.exit(1 if differ else 0)


def parse() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scale_study.million",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument(
        "--source",
        default="bucket",
        help="bucket (a folder at a file:// URL), archive (.tar), or a URL of your own, s3://...",
    )
    parser.add_argument("--shard-rows", type=int, default=1024)
    parser.add_argument("--compare", type=int, help="images of the runs that are compared; all")
    parser.add_argument("--folder", type=Path, help="where all is written; a temporary folder")
    parser.add_argument(
        "--calibrate",
        type=int,
        nargs="*",
        help="images of the two runs from which the others are predicted; 20000 100000",
    )
    arguments = parser.parse_args()
    if len(arguments.calibrate or CALIBRATION) != len(CALIBRATION):
        parser.error("--calibrate takes two numbers of images, or none")
    return arguments


def runs(images: int, compared: int) -> list[tuple[str, int, bool]]:
    """Name, number of images and whether a node is killed, of each run; the last two are
    compared."""
    small = [("small, a node killed", compared, True)] if compared < images else []
    return [("a node killed", images, True), *small, ("nobody killed", compared, False)]


@contextmanager
def working_folder(folder: Path | None) -> Iterator[Path]:
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder.absolute()
        return
    with TemporaryDirectory(prefix="million-") as temporary:
        yield Path(temporary)


def write_network(folder: Path) -> Path:
    path = folder / "tiny.keras"
    subprocess.run(
        [sys.executable, "-c", NETWORK, str(path)],
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
        check=True,
    )
    return path


def write_source(place: Path, kind: str, images: int) -> str:
    """Write the images, unless they are there; what `split.source` is then."""
    started = time.perf_counter()
    if kind == "archive":
        source = str(place.with_suffix(".tar"))
        write = write_archive
    else:
        place.mkdir(exist_ok=True)
        source = f"{kind.rstrip('/')}/{place.name}" if is_url(kind) else f"file://{place}"
        write = write_objects
    done = place.with_suffix(".written")  # so that a second run writes nothing again
    if not done.exists():
        write(source, draw_images(images))
        done.touch()
    print(f"source: {source}, {time.perf_counter() - started:.0f} s", flush=True)
    return source


def write_archive(source: str, drawn: Iterator[tuple[str, bytes]]) -> None:
    with tarfile.open(source, "w") as archive:
        for name, content in drawn:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def write_objects(source: str, drawn: Iterator[tuple[str, bytes]]) -> None:
    store = ObjectStore(source, "--source")
    with ThreadPoolExecutor(WRITERS) as pool:
        while batch := list(islice(drawn, 64 * WRITERS)):
            list(pool.map(lambda each: store.put_bytes(*each), batch))


def draw_images(images: int) -> Iterator[tuple[str, bytes]]:
    """Names and JPEGs: noise, brighter in one of the colours by class."""
    for number in range(images):
        rng, label = np.random.default_rng(number), number % CLASSES
        pixels = np.kron(rng.integers(0, 200, (8, 8, 3)), np.ones((4, 4, 1)))
        pixels[..., label % 3] += 5 * label
        content = io.BytesIO()
        Image.fromarray(pixels.astype(np.uint8)).save(content, "JPEG", quality=75)
        yield f"class_{label}/{number:08}.jpg", content.getvalue()


def set_up(project: Path, source: str, network: Path, shard_rows: int) -> Path:
    """A project with a store of its own, so that nothing is known from another run."""
    shutil.rmtree(project, ignore_errors=True)
    (project / "shards").mkdir(parents=True)
    for name in ("stages", "transfer"):
        (project / name).symlink_to(ROOT / name)
    for name in ("dvc.yaml", "pins.yaml"):
        shutil.copy(ROOT / name, project)
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    changes = {
        "split": {
            "source": source,
            "train": 0.8,
            "validation": 0.1,
            "test": 0.1,
            "order": "checksum",
        },
        "backbone": {
            "name": str(network),
            "image_size": SIDE,
            "preprocessing": "rescale",
            "unfreeze_from": "tail",
        },
        "weights": {"sha256": hashlib.sha256(network.read_bytes()).hexdigest()},
        "arrays": {"format": "shards", "shard_rows": shard_rows},
        "resources": {"engine": "ray", "shards_url": str(project / "shards")},
        "train_head": {"units": 16, "epochs": 2, "batch_size": 1000},
    }
    params = {section: values | changes.get(section, {}) for section, values in params.items()}
    (project / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    return project


def costs_of(pair: Sequence[tuple[int, dict]], shard_rows: int) -> dict[str, StageCosts]:
    """The costs of each map, from the results of two runs and their numbers of images."""
    small, large = (measured_of(*each) for each in pair)
    return {
        stage: calibrate(stage, small[stage], large[stage], NODES, shard_rows) for stage in MAPS
    }


def measured_of(images: int, result: dict) -> dict[str, Measured]:
    """What was measured of each map in a run of so many images."""
    return {
        stage: Measured(images, result["seconds"][stage], *result["processor"][stage])
        for stage in MAPS
    }


def run(project: Path, is_lossy: bool, stages: Sequence[str]) -> dict:
    """Seconds of each stage, processor time of its own process and of its workers, peaks of memory,
    and checksums of what came out."""
    seconds, killed = {}, None
    with cluster() as nodes, ProcessWatch(nodes) as watch:
        for _ in range(NODES):
            nodes.add()
        address = {"RAY_ADDRESS": nodes.address}
        for stage in stages:
            started = time.perf_counter()
            process = subprocess.Popen(
                [sys.executable, "-m", f"stages.{stage}"],
                cwd=project,
                env={k: v for k, v in os.environ.items() if k != "DVC_ROOT"} | address,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
            watch.follow(stage, process.pid)
            if is_lossy and stage == "extract":
                killed = kill_a_node(project, nodes, process)
            _, error = process.communicate()
            if process.returncode:
                sys.exit(f"{stage}: {error[-2000:]}")
            seconds[stage] = time.perf_counter() - started
            if is_lossy and stage == "extract":
                nodes.add()
    return {
        "seconds": seconds,
        "peaks": watch.peaks,
        "processor": {stage: watch.processor(stage) for stage in stages},
        "killed after": killed,
        "outputs": checksums(project),
    }


def kill_a_node(project: Path, nodes: Cluster, process: subprocess.Popen) -> str:
    """Kill the second node once a third of the training images' shards are made; says when."""
    index = (project / "data/images/train/images.shards").read_text(encoding="utf-8")
    shards = index.count("sha256")
    while (made := notes_in(project)) < max(1, shards // 3) and process.poll() is None:
        time.sleep(0.02)
    nodes.nodes[-1].kill()
    return f"{made} of {shards} shards of train"


def notes_in(project: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in project.glob(".rows/*/*.shards"))


def checksums(project: Path) -> dict[str, str]:
    """By path, those of all files that came out; the shards are named by theirs."""
    files = (file for name in OUTPUTS for file in sorted((project / name).rglob("*.*")))
    return {
        file.relative_to(project).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files
        if file.is_file()
    }


def differing(one: dict[str, str], other: dict[str, str]) -> list[str]:
    return sorted(name for name in one | other if one.get(name) != other.get(name))


def print_run(name: str, result: dict) -> None:
    print(f"\n{name}" + (f" after {result['killed after']}" if result["killed after"] else ""))
    print(pd.Series(result["seconds"], name="seconds").round(1).to_string())
    print("peak of memory, MB")
    print(pd.Series(result["peaks"]).sort_index().round().to_string(), flush=True)


if __name__ == "__main__":
    main()
