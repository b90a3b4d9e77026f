"""No library reports to its maker."""

import os
import subprocess
import sys

import pytest

from tests.helpers.tiny_sources import REPOSITORY
from transfer.runtime.privacy import OPT_OUTS


def test_onnx_runtime_keeps_no_identifier_of_the_machine(tmp_path):
    pytest.importorskip("onnxruntime")
    in_new_process("import transfer, onnxruntime", HOME=str(tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("own", [{}, {"RAY_USAGE_STATS_ENABLED": "1"}])
def test_reports_are_off_unless_the_user_has_switched_them_on(own):
    said = in_new_process(
        f"import os, transfer; print(*(os.environ[name] for name in {list(OPT_OUTS)}))", **own
    )
    assert said.split() == list((OPT_OUTS | own).values())


def in_new_process(code: str, **variables: str) -> str:
    """What it prints, with these variables and none of OPT_OUTS beside."""
    rest = {name: value for name, value in os.environ.items() if name not in OPT_OUTS}
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=REPOSITORY,
        env=rest | variables,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
