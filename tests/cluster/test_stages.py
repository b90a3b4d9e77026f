"""The stages on a real Ray cluster: the bytes that this machine makes alone,
and errors before work starts."""

import shutil
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.helpers.local_cluster import cluster
from tests.helpers.tiny_pipeline import call, draw_image, set_param
from transfer.cluster import connection as joining
from transfer.cluster.ray_engine import RayEngine
from transfer.runtime.errors import PipelineError
from transfer.runtime.resource_params import ResourceParams

MADE = {
    "split": [
        "data/manifest/manifest.csv",
        "data/split/rejected.csv",
        "data/split/duplicates.csv",
        "data/split/hashes.csv",
    ],
    "decode": [f"data/images/{split}/images.npy" for split in ("train", "validation", "test")],
    "extract": [
        f"data/features/{split}/{kind}.npy"
        for split in ("train", "validation", "test")
        for kind in ("features", "cut")
    ],
    "augment": ["data/views/features.npy", "data/views/cut.npy"],
}


# What a worker on CPUs does without, as requirements/worker.in has it.
ABSENT = ("tensorflow", "keras", "h5py", "pandas", "pyarrow", "sklearn", "matplotlib", "dvc")


@pytest.fixture(scope="module")
def two_nodes(tmp_path_factory):
    """A head that does no work itself, and two nodes that the tests leave as they were. Whoever
    imports what they have no need of fails there."""
    absent = tmp_path_factory.mktemp("absent")
    for name in ABSENT:
        said = f"{name} is not for workers"
        (absent / f"{name}.py").write_text(f"raise ModuleNotFoundError({said!r})\n")
    with cluster(path=str(absent)) as made:
        made.add()
        made.add()
        yield made


@pytest.fixture
def bare(base, project) -> Path:
    """The reproduced world's project with its images and weights,
    and nothing that a map has made."""
    for name in ("stages", "transfer", "images"):
        (project / name).symlink_to(base / name)
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(base / name, project)
    for name in ("weights", "frozen"):
        shutil.copytree(base / "data" / name, project / "data" / name)
    return project


def use_cluster(project: Path, address: str | None, **others) -> None:
    for name, value in {"engine": "ray", "address": address, **others}.items():
        set_param(project, f"resources.{name}", value)


def run_stage(project: Path, name: str) -> str:
    return call("python", "-m", f"stages.{name}", cwd=project).stdout


def refusal(project: Path, stage: str) -> str:
    """What a stage says that ends with 1 and without a traceback."""
    finished = call("python", "-m", f"stages.{stage}", cwd=project, check=False)
    assert finished.returncode == 1
    assert "Traceback" not in finished.stderr
    return finished.stderr.splitlines()[-1]


def assert_made_alike(project: Path, other: Path, stage: str) -> None:
    for name in MADE[stage]:
        assert (project / name).read_bytes() == (other / name).read_bytes(), name


def test_every_map_gives_the_bytes_that_this_machine_makes_alone(base, bare, two_nodes):
    use_cluster(bare, two_nodes.address)
    for stage in MADE:
        assert f"2 workers on 2 nodes of {two_nodes.address}" in run_stage(bare, stage)
        assert_made_alike(bare, base, stage)


@pytest.mark.slow
def test_an_image_that_ends_its_worker_is_rejected_and_the_others_are_split_as_without_it(
    base, bare, tmp_path
):
    """The nodes' Pillow breaks at one image, as a decoder does that has a bug."""
    patched = tmp_path / "patched"
    patched.mkdir()
    draw_image(bare.parent / "deadly" / "a.png", seed=7)
    deadly = bare.parent / "deadly" / "a.png"
    patched.joinpath("sitecustomize.py").write_text(
        "import os, signal\n"
        "import PIL.Image\n"
        f"deadly, plain = open({str(deadly)!r}, 'rb').read(), PIL.Image.open\n"
        "def deadly_open(file, *rest, **named):\n"
        "    return os.kill(os.getpid(), signal.SIGSEGV) if file.getvalue() == deadly else "
        "plain(file, *rest, **named)\n"
        "PIL.Image.open = deadly_open\n"
    )
    (bare / "images").unlink()
    shutil.copytree(base / "images", bare / "images")
    shutil.copy(deadly, bare / "images/a/deadly.png")
    with cluster() as nodes:
        nodes.add(cpus=2, PYTHONPATH=str(patched))
        use_cluster(bare, nodes.address)
        run_stage(bare, "split")
    reason = "it ended the process that decoded it, 3 times"
    assert (
        bare / "data/split/rejected.csv"
    ).read_text() == f'path,reason\na/deadly.png,"{reason}"\n'
    assert (bare / "data/manifest/manifest.csv").read_bytes() == (
        base / "data/manifest/manifest.csv"
    ).read_bytes()


def test_an_address_where_nothing_answers_is_refused_at_once(bare):
    use_cluster(bare, "127.0.0.1:1")
    started = time.monotonic()
    assert (
        "split: resources.address = '127.0.0.1:1': nothing answers there; is the head up (`ray "
        "start --head`)" in refusal(bare, "split")
    )
    assert time.monotonic() - started < 20
    assert not (bare / "data/split").exists()


def test_an_address_that_is_none_is_refused(bare):
    use_cluster(bare, "ray://head")
    assert "resources.address = 'ray://head'" in refusal(bare, "split")


def test_a_machine_outside_of_the_cluster_is_told_how_to_join(monkeypatch, two_nodes):
    monkeypatch.setattr(psutil, "process_iter", lambda *_: iter(()))
    with pytest.raises(
        PipelineError,
        match=r"no node of that cluster; make it one .* `ray start --address=\S+ --num-cpus=0`",
    ):
        joining.Cluster(cluster_params(two_nodes.address))


@pytest.mark.slow
def test_who_has_another_token_is_not_let_in(bare, two_nodes, monkeypatch):
    """Ray tries for twenty seconds."""
    monkeypatch.setenv("RAY_AUTH_TOKEN", 64 * "0")
    use_cluster(bare, two_nodes.address)
    assert (
        "the head answers and does not let this machine in; is the token the cluster's "
        "(RAY_AUTH_TOKEN" in refusal(bare, "split")
    )


def test_ray_that_is_not_installed_is_named_with_its_lock(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with (
        pytest.raises(
            PipelineError,
            match=r"Ray is not installed; `make \.venv/extra-ray` installs it, or set local",
        ),
        RayEngine(cluster_params("127.0.0.1:1"), []).start(None),
    ):
        pass


def cluster_params(address: str) -> ResourceParams:
    return ResourceParams(engine="ray", address=address)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        (
            "compute.device",
            "gpu",
            "= 'gpu': no node of the cluster at {} has a GPU (its 3 nodes have 0, 0, 0); set auto "
            "or cpu",
        ),
        (
            "resources.worker_cpus",
            2,
            "= 2: no node of the cluster at {} has so many CPUs (its 3 nodes have ",
        ),
    ],
)
def test_what_the_cluster_lacks_is_said_before_work_starts(base, bare, two_nodes, key, value, said):
    use_cluster(bare, two_nodes.address)
    set_param(bare, key, value)
    shutil.copytree(base / "data/images", bare / "data/images")
    assert f"{key} {said.format(two_nodes.address)}" in refusal(bare, "extract")
    assert not (bare / "data/features").exists()


@pytest.mark.slow
def test_a_node_with_another_version_is_named(bare, tmp_path):
    old = tmp_path / "old" / "pillow-1.0.dist-info"
    old.mkdir(parents=True)
    (old / "METADATA").write_text("Metadata-Version: 2.1\nName: pillow\nVersion: 1.0\n")
    with cluster() as nodes:
        nodes.add(PYTHONPATH=str(old.parent))
        use_cluster(bare, nodes.address)
        said = refusal(bare, "split")
    assert "has other versions than this machine: pillow 1.0 (here " in said
    assert "install requirements.txt and requirements/ray.txt there too" in said
    assert not (bare / "data/split").exists()


@pytest.mark.slow
def test_a_worker_a_node_and_all_nodes_die_and_the_views_are_those_of_one_machine(base, bare):
    """AugmentationJobs are many here, so that there is something to interrupt."""
    shutil.copytree(base / "data/images", bare / "data/images")
    set_param(bare, "augment.views", 80)
    run_stage(bare, "augment")
    alone = {name: (bare / name).read_bytes() for name in MADE["augment"]}
    with cluster() as nodes:
        first, second = nodes.add(), nodes.add()
        use_cluster(bare, nodes.address, timeout=20)
        start_over(bare)
        running = start(bare)
        wait_for_rows(bare, 100)
        (worker,) = first.workers()
        worker.kill()
        wait_for_rows(bare, 300)
        second.kill()
        assert running.wait(120) == 0
        assert {name: (bare / name).read_bytes() for name in MADE["augment"]} == alone

        start_over(bare)
        running = start(bare)
        wait_for_rows(bare, 100)
        first.kill()
        assert running.wait(120) == 1
        assert not (bare / "data/views/features.npy").exists()
        nodes.add()  # the head has lived on
        said = run_stage(bare, "augment")
        known = int(said.partition("data/views/features: ")[2].partition(" rows were known")[0])
        assert 100 <= known < 80 * 12
        assert {name: (bare / name).read_bytes() for name in MADE["augment"]} == alone


def start_over(project: Path) -> None:
    for name in (".rows", "data/views"):
        shutil.rmtree(project / name, ignore_errors=True)


def start(project: Path) -> psutil.Popen:
    return psutil.Popen([sys.executable, "-m", "stages.augment"], cwd=project, stdout=-3, stderr=-3)


def wait_for_rows(project: Path, n: int) -> None:
    """Until the stage has kept so many rows; an index has 48 bytes a row."""
    deadline = time.monotonic() + 90
    while sum(path.stat().st_size for path in project.glob(".rows/*/*.index")) < 48 * n:
        assert time.monotonic() < deadline
        time.sleep(0.05)
