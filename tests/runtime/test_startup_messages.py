"""TensorFlow's remarks are held back, and nothing else is."""

import os
import subprocess
import sys

import pytest

from tests.helpers.tiny_sources import REPOSITORY
from transfer.runtime import startup_messages
from transfer.runtime.startup_messages import LEVEL, hide_messages, without_remarks

REMARKS = (
    b"WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n"
    b"I0000 00:00:1795772803.711009    8914 port.cc:153] oneDNN custom operations are on.\n"
    b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\n"
)
OTHERS = b"E0000 00:00:1795772803.711009    8914 cuda.cc:1] no driver\nWARNING: of a plugin\n"


@pytest.fixture(autouse=True)
def has_all_instructions(monkeypatch):
    monkeypatch.setattr(startup_messages, "missing_instructions", lambda: None)


def test_only_remarks_are_held_back(monkeypatch, capfd):
    monkeypatch.setenv(LEVEL, "3")
    with without_remarks():
        os.write(2, REMARKS + OTHERS)
        assert capfd.readouterr().err == ""
    os.write(2, b"after\n")
    assert capfd.readouterr().err.encode() == OTHERS + b"after\n"


def test_what_was_printed_before_an_error_is_shown(monkeypatch, capfd):
    monkeypatch.setenv(LEVEL, "3")
    with pytest.raises(ImportError), without_remarks():
        os.write(2, OTHERS)
        raise ImportError
    assert capfd.readouterr().err.encode() == OTHERS


@pytest.mark.parametrize(("level", "missing"), [("0", None), (None, None), ("3", "avx2")])
def test_all_is_shown_at_once_on_request_and_where_the_process_may_end(
    level, missing, monkeypatch, capfd
):
    monkeypatch.delenv(LEVEL, raising=False)
    if level is not None:
        monkeypatch.setenv(LEVEL, level)
    monkeypatch.setattr(startup_messages, "missing_instructions", lambda: missing)
    with without_remarks():
        os.write(2, REMARKS)
        assert capfd.readouterr().err.encode() == REMARKS


def test_the_users_level_is_kept(monkeypatch):
    monkeypatch.setenv(LEVEL, "1")
    hide_messages()
    assert os.environ[LEVEL] == "1"


def test_the_level_is_set_before_any_module_of_the_project_is_imported():
    code = f"import transfer, os; print(os.environ[{LEVEL!r}])"
    environment = {name: value for name, value in os.environ.items() if name != LEVEL}
    finished = subprocess.run(
        [sys.executable, "-c", code],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert finished.stdout == "3\n"
