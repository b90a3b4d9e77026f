"""Sources and shards on a real S3 server: what is stored and read there, and what is refused."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.helpers import shard_sums
from tests.helpers.local_cluster import cluster
from tests.helpers.remotes import BUCKET, READER
from tests.helpers.shards import random, write
from tests.helpers.tiny_pipeline import (
    environment,
)
from tests.helpers.tiny_sources import REPOSITORY
from transfer.runtime.errors import PipelineError
from transfer.sources.reader import read_source
from transfer.storage import object_store
from transfer.storage.object_store import ObjectStore
from transfer.storage.sharded_array import read_index


def test_an_array_goes_to_s3_and_comes_back_with_each_shard_stored_once(s3, tmp_path):
    array = random(2, 11, 3)
    store = ObjectStore(f"s3://{BUCKET}/arrays", "resources.shards_url")
    found = write(
        tmp_path / "a.shards",
        array,
        store,
        leading=2,
        order=np.random.default_rng(0).permutation(22),
    )
    assert np.array_equal(np.array(found), array)
    assert np.array_equal(found[1][np.array([10, 0])], array[1, [10, 0]])
    names = [f"arrays/{shard.name}" for shard in read_index(tmp_path / "a.shards").shards]
    assert sorted(s3.bucket.names("arrays/")) == sorted(names), "and no probe, no temporary object"
    times = [
        entry["LastModified"]
        for entry in s3.bucket.client.list_objects_v2(Bucket=BUCKET, Prefix="arrays/")["Contents"]
    ]
    time.sleep(1.1)
    write(tmp_path / "b.shards", array, store, leading=2)
    again = [
        entry["LastModified"]
        for entry in s3.bucket.client.list_objects_v2(Bucket=BUCKET, Prefix="arrays/")["Contents"]
    ]
    assert again == times


def test_class_folders_on_s3_are_read(s3):
    for name in ("cat/1.png", "cat/2.png", "dog/1.png"):
        s3.bucket.write(f"pets/{name}", name.encode())
    entries = list(read_source(f"s3://{BUCKET}/pets"))
    assert [entry.path for entry in entries] == [
        "cat/",
        "cat/1.png",
        "cat/2.png",
        "dog/",
        "dog/1.png",
    ]
    assert [entry.load().content for entry in entries if not entry.is_folder] == [
        b"cat/1.png",
        b"cat/2.png",
        b"dog/1.png",
    ]


@pytest.mark.parametrize(
    ("url", "changes", "words"),
    [
        ("s3://nobucket/arrays", {}, "no such bucket or folder; create it or correct the URL"),
        (
            f"s3://{BUCKET}/arrays",
            {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"},
            "it cannot be reached",
        ),
        (f"s3://{BUCKET}/arrays", {"AWS_SECRET_ACCESS_KEY": "wrong"}, "check the credentials"),
        (
            f"s3://{BUCKET}/arrays",
            {"AWS_ACCESS_KEY_ID": READER},
            "check the credentials, and that they may list, read, write and delete",
        ),
        (
            f"s3://{BUCKET}/arrays",
            {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None},
            "no credentials",
        ),
        (f"s3://{BUCKET}/arrays", {"AWS_PROFILE": "nobodys"}, "nobodys"),
    ],
)
def test_a_bucket_that_cannot_be_written_is_an_error_within_seconds(
    s3, monkeypatch, tmp_path, url, changes, words
):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name, value in changes.items():
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name)
    started = time.monotonic()
    with pytest.raises(PipelineError) as error:
        ObjectStore(url, "resources.shards_url").check_writable()
    assert time.monotonic() - started < object_store.PROBE_TIMEOUT + 5
    assert str(error.value).startswith(f"resources.shards_url = {url!r}: ") and words in str(
        error.value
    )
    assert "the-secret" not in str(error.value)


def test_a_shard_that_a_bucket_does_not_take_ends_in_a_sentence(s3, monkeypatch):
    """As when a key is revoked after the check before the work."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", READER)
    with pytest.raises(PipelineError, match="refused .*check the credentials"):
        ObjectStore(f"s3://{BUCKET}/arrays", "resources.shards_url").put_bytes("ab/c", bytes(10))


def start_sums(address: str, folder: Path) -> subprocess.CompletedProcess:
    words = ["-c", "import sys, shard_sums; shard_sums.main(*sys.argv[1:])"]
    path = f"{REPOSITORY}{os.pathsep}{REPOSITORY / 'tests/helpers'}"
    return subprocess.run(
        [sys.executable, *words, address, str(folder), "0"],
        env=environment() | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_a_node_whose_credentials_may_not_write_ends_the_stage_and_a_rerun_goes_on(
    s3, tmp_path, monkeypatch
):
    """The stage's own may, so that the check before the work succeeds."""
    monkeypatch.setenv("SHARDS_URL", f"s3://{BUCKET}/sums")
    for name in ("cluster", "alone"):
        shard_sums.write_images(tmp_path / name, 40)
    with cluster(path=str(REPOSITORY / "tests/helpers")) as nodes:
        node = nodes.add(AWS_ACCESS_KEY_ID=READER)
        refused = start_sums(nodes.address, tmp_path / "cluster")
        assert refused.returncode == 1
        assert f"resources.shards_url = 's3://{BUCKET}/sums': refused" in refused.stderr
        assert "check the credentials" in refused.stderr and "Traceback" not in refused.stderr
        node.kill()
        nodes.add()
        said = start_sums(nodes.address, tmp_path / "cluster")
    assert said.returncode == 0, said.stderr
    assert start_sums("", tmp_path / "alone").returncode == 0
    for name in ("features.shards", "cut.shards"):
        assert (tmp_path / "cluster" / name).read_bytes() == (
            tmp_path / "alone" / name
        ).read_bytes()


def test_without_s3fs_the_line_that_installs_it_is_named():
    program = """
import sys
sys.modules["s3fs"] = None
from transfer.storage import object_store as stores
from transfer.runtime.errors import PipelineError
from transfer.storage.object_store import ObjectStore
try:
    ObjectStore("s3://bucket", "split.source")
except PipelineError as error:
    print(error)
"""
    said = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout
    assert said == (
        "split.source = 's3://bucket': the client for s3:// is not installed; `make "
        ".venv/extra-s3` installs it, and requirements/s3.txt has it for a node of a cluster\n"
    )
