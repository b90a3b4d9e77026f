"""Reports of made-up results, written once: of two classes, of hostile names, of all six models."""

from pathlib import Path

import pytest

from stages.report import PAGE
from tests.helpers.report_page import HOSTILE, WITH_BASELINES, Parsed, report
from tests.helpers.report_world import write_world


@pytest.fixture(scope="session")
def plain(tmp_path_factory) -> Path:
    """A project with results of two classes, and its report."""
    folder = tmp_path_factory.mktemp("plain")
    write_world(folder)
    report(folder)
    return folder


@pytest.fixture(scope="session")
def page(plain) -> Parsed:
    return Parsed((plain / PAGE).read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def hostile(tmp_path_factory) -> Path:
    """The same of classes and files with hostile names."""
    folder = tmp_path_factory.mktemp("hostile")
    write_world(folder, HOSTILE, n_test=18, wrong=range(9))
    report(folder)
    return folder


@pytest.fixture(scope="session")
def with_baselines(tmp_path_factory) -> Path:
    """A project with all six models, and its report."""
    folder = tmp_path_factory.mktemp("six")
    write_world(folder, models=WITH_BASELINES)
    report(folder)
    return folder
