"""Fixtures of the tests of commands."""

import shutil
from pathlib import Path

import pytest

from tests.helpers.tiny_sources import REPOSITORY


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """A project's folder with the repository's params.yaml in it."""
    folder = tmp_path / "project"
    folder.mkdir()
    shutil.copy(REPOSITORY / "params.yaml", folder)
    monkeypatch.chdir(folder)
    return folder
