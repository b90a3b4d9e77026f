"""Stages that need no TensorFlow as they begin import none."""

import subprocess
import sys

from tests.helpers.tiny_sources import REPOSITORY

# `compare` and `report` have their own tests, with what their work imports
WITHOUT = ("split", "decode", "convert", "extract", "audit", "augment", "compare", "report")
HEAVY = {"tensorflow", "keras", "jax", "torch"}


def test_stages_without_tensorflow_import_none():
    code = (
        "import sys\nfrom importlib import import_module\nfor name in sys.argv[1:]:\n"
        f"    import_module(f'stages.{{name}}')\n    assert not {HEAVY} & {{*sys.modules}}, name"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code, *WITHOUT],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
