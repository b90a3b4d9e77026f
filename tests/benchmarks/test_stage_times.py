"""Each stage's imports beside its work, and DVC's own share, from logs that are written by hand."""

import json
import os
import pstats
import sys
from pathlib import Path

import pytest

from benchmarks.measuring import Place
from benchmarks.stage_times import PROFILER, dvc_table, read_stage_times
from transfer.runtime.errors import PipelineError


def write_log(folder: Path, name: str, started: float, imports: float, seconds: float) -> None:
    (folder / "logs").mkdir(exist_ok=True)
    log = {
        "started": started,
        "seconds": seconds,
        "core_seconds": 1.0,
        "import_seconds": imports,
        "import_core_seconds": 0.5,
        "peak_bytes": 10,
    }
    (folder / "logs" / f"{name}.json").write_text(json.dumps(log))


@pytest.fixture
def ran(tmp_path: Path) -> Path:
    """A run that began at 100, of two stages and an item of a third; another stage ran earlier."""
    (tmp_path / "dvc.yaml").write_text(
        "stages: {split: {}, weights: {}, extract: {}, evaluate: {matrix: {model: [head]}}}"
    )
    write_log(tmp_path, "weights", started=90, imports=4, seconds=1)
    write_log(tmp_path, "split", started=103, imports=1, seconds=2)
    write_log(tmp_path, "evaluate@head", started=120, imports=3, seconds=4)
    write_log(tmp_path, "extract", started=109, imports=1, seconds=5)
    return tmp_path


def test_stages_of_a_run_in_their_order_with_dvcs_share(ran):
    times = read_stage_times(ran, began=100)
    assert [each.name for each in times] == ["split", "extract", "evaluate@head"]
    # 100 to 102; 105 to 108; 114 to 117
    assert [each.before for each in times] == [2, 3, 3]
    assert [each.imports for each in times] == [1, 1, 3]


def test_stages_that_ran_whenever_have_no_share_of_dvcs(ran):
    times = read_stage_times(ran)
    assert [each.name for each in times] == ["weights", "split", "extract", "evaluate@head"]
    assert {each.before for each in times} == {None}


def test_nothing_has_run(tmp_path):
    (tmp_path / "dvc.yaml").write_text("stages: {split: {}}")
    with pytest.raises(PipelineError, match="has no stage's log; run `make run` first"):
        read_stage_times(tmp_path)


def test_the_parts_of_dvcs_process_add_up(tmp_path):
    """Under the profiler of the benchmark, a program of DVC's name whose files end as DVC's do."""
    module = tmp_path / "dvc/utils/serialize/_yaml.py"
    module.parent.mkdir(parents=True)
    module.write_text("def parse_yaml():\n    return sum(range(10_000_000))")
    for folder in (module.parent, module.parents[1], module.parents[2]):
        (folder / "__init__.py").touch()
    (tmp_path / "dvc/__main__.py").write_text(
        "import sys\nfrom dvc.utils.serialize._yaml import parse_yaml\nparse_yaml()\n"
        "sum(range(1_000_000))\nsys.exit(0 if sys.argv[1:] == ['repro'] else 1)"
    )
    place = Place(tmp_path, dict(os.environ), tmp_path / "log.txt")
    place.run([sys.executable, "-c", PROFILER, "profile", "dvc", "repro"])
    table = dvc_table(pstats.Stats(str(tmp_path / "profile")))
    seconds = {line[:-4].strip(): float(line[-4:]) for line in table.splitlines()[1:]}
    assert [*seconds][0] == "reading dvc.yaml, dvc.lock, params.yaml and pins.yaml"
    assert seconds.pop("all") == pytest.approx(sum(seconds.values()), abs=0.04)
