"""Stages that need no TensorFlow as they begin import none."""

import subprocess
import sys

from tests.helpers.tiny_pipeline import call
from tests.helpers.tiny_sources import REPOSITORY
from transfer.classifiers.names import MODEL_NAMES

# `report` has its own test, with what its work imports
WITHOUT = (
    "split",
    "decode",
    "convert",
    "extract",
    "audit",
    "augment",
    "train_neighbours",
    "train_probe",
    "evaluate",
    "report",
)
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


def test_evaluate_imports_none_for_its_work_where_the_models_were_trained(base, world):
    """Grad-CAM's pictures included; the trainings have converted the models."""
    (world / "data").unlink()
    (world / "data").mkdir()
    for folder in (base / "data").iterdir():
        if folder.name != "evaluation":
            (world / "data" / folder.name).symlink_to(folder)
    code = (
        "import sys\nfrom stages.evaluate import main\nfor name in sys.argv[1:]:\n"
        f"    main(name)\n    assert not {HEAVY} & {{*sys.modules}}, name"
    )
    call("python", "-c", code, *MODEL_NAMES, cwd=world)
    for name in MODEL_NAMES:
        made, committed = (
            {file.name: file.read_bytes() for file in (each / name).rglob("*.*")}
            for each in (world / "data/evaluation", base / "data/evaluation")
        )
        assert made == committed
