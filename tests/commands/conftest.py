"""Fixtures of the tests of commands and of set-up."""

import os
import shutil
from pathlib import Path

import pytest

from tests.helpers import http_servers
from tests.helpers.tiny_sources import REPOSITORY


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """A project's folder with the repository's params.yaml in it."""
    folder = tmp_path / "project"
    folder.mkdir()
    shutil.copy(REPOSITORY / "params.yaml", folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def loopback_alone(monkeypatch):
    """No index but those that a test names, and no second tries at one that is not there."""
    http_servers.keep_to_loopback(monkeypatch)
    for name in [name for name in os.environ if name.startswith("UV_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_RETRIES", "0")
