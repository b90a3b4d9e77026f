"""A real S3 server for the tests of this folder."""

from collections.abc import Iterator

import pytest
import s3fs

from tests.helpers.remotes import S3, free_ports, s3_server


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[S3]:
    with s3_server(tmp_path_factory.mktemp("s3"), free_ports(8)) as remote:
        yield remote


@pytest.fixture
def s3(server, monkeypatch) -> S3:
    for name, value in server.variables.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()  # which knows its arguments and not the environment
    return server
