"""`make bench`: its table and its JSON by hand, what it runs without the pipeline's limits, and
that it leaves nothing behind."""

import ast
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks import bench
from benchmarks.bench import Measured, Row, Side, show
from benchmarks.measuring import Place, Timed, as_table, number, spread
from benchmarks.stage_times import StageTime
from tests.helpers.tiny_pipeline import STAGES, build_world, call, environment
from tests.helpers.tiny_sources import REPOSITORY
from transfer.runtime.errors import PipelineError


def place(folder: Path) -> Place:
    return Place(folder, dict(os.environ), folder / "log.txt")


def test_seconds_are_compared_by_medians_and_rates_the_other_way_round():
    ours, other = (
        Side("ours", (3.0, 1.0, 2.0), (1.0, 1.0, 4.0), 5),
        Side("other", (8.0,), (6.0,), 5),
    )
    assert Row("", "s", ours, other).times == 8 / 2
    assert Row("", "s", ours, other).times_by_cores == 6 / 1
    assert Row("", "ms", ours, other).times_by_cores is None
    assert Row("", "s", ours, Side("", (8.0,), None, 5)).times_by_cores is None
    rates = Row("", "images/s", ours, other)
    assert (rates.times, rates.times_by_cores) == (2 / 8, None)


def test_the_table_has_medians_ranges_and_memory():
    rows = [Row("an epoch", "s", Side("ours", (3.0, 1.0, 2.0), None, 2_000_000),
                Side("Keras", (8.0,), None, 1_234_000_000))]  # fmt: skip
    stages = [
        StageTime("split", 1.0, 0.5, 2.0, 1.5, 100_000_000, before=3.0),
        StageTime("decode", 1.0, 0.5, 4.0, 3.5, 200_000_000, before=5.0),
    ]
    accuracy = {"pipeline": {"scratch": 0.7, "head": 0.9}, "notebook": {"head": 0.8}}
    measured = Measured(rows, stages, Timed(20.0, 7.0, 5), accuracy, 123.4)
    text = show(measured, seconds=600, is_quick=True)
    lines = [line.split() for line in text.splitlines()]
    expected = "an epoch 2.00 (1.00 to 3.00) s 2 Keras 8.00 1,234 4.00"
    assert expected.split() in lines
    assert ["split", "1.0", "0.5", "2.0", "1.5", "100", "3.0"] in lines
    # what is neither imports nor work is DVC's: 20 - 2 - 6
    assert ["all", "2.0", "1.0", "6.0", "5.0", "200", "12.0"] in lines
    assert "DVC after the last stage: 4.0 s" in text
    # 7 - 1 - 5
    assert "all but imports and work: 1.0 s" in text
    assert ["head", "0.900", "0.800"] in lines
    assert ["scratch", "0.700"] in lines
    assert "123 GFLOP/s" in text
    assert "took 10 minutes" in text
    assert "No figure above counts" in text


def test_numbers_have_three_digits_that_count():
    assert [number(value) for value in (0.1234, 1.234, 12.34, 123.4, 1234.5)] == [
        "0.123",
        "1.23",
        "12.3",
        "123",
        "1,234",
    ]
    assert spread([2.0]) == "2.00"


def test_columns_of_numbers_stand_to_the_right():
    table = as_table(["what", "s"], [["a", "1.5"], ["longer", "12.5"]])
    assert table.splitlines() == ["what       s", "a        1.5", "longer  12.5"]


def test_a_command_is_timed_with_all_that_it_starts(tmp_path):
    code = (
        "import subprocess, sys\n"
        "subprocess.run([sys.executable, '-c', "
        "'import time; b = bytearray(200_000_000); t = time.process_time()\\n"
        "while time.process_time() < t + 0.3: pass'], check=True)\n"
        "print('x.image.png 1', flush=True)"
    )
    timed = place(tmp_path).run([sys.executable, "-c", code], lambda line: ".image." in line, 1)
    assert timed.peak_bytes > 200_000_000
    assert timed.core_seconds > 0.3
    assert 0.3 < timed.first_row <= timed.seconds


def test_a_command_that_fails_ends_with_what_it_printed(tmp_path):
    failing = [sys.executable, "-c", "import sys; print('not enough'); sys.exit(3)"]
    with pytest.raises(PipelineError, match=r"exit code 3\nnot enough"):
        place(tmp_path).run(failing)
    with pytest.raises(PipelineError, match="1 rows of 2"):
        place(tmp_path).run([sys.executable, "-c", "print('.image.')"], lambda line: True, 2)


def test_what_measures_memory_is_small_itself():
    """Linux counts it as the memory of each command that it starts."""
    code = "import sys, benchmarks.bench; print({'numpy', 'pandas', 'keras'} & {*sys.modules})"
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert found.stdout == "set()\n"


@pytest.mark.parametrize("name", ["plain_keras", "lesson"])
def test_what_a_person_would_do_instead_is_not_held_to_avx2(name):
    """The package of the pipeline sets the limits as it is imported, and so does this one's."""
    tree = ast.parse((REPOSITORY / f"benchmarks/{name}.py").read_text(encoding="utf-8"))
    imported = {
        module.split(".")[0]
        for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for module in (
            [node.module]
            if isinstance(node, ast.ImportFrom)
            else [each.name for each in node.names]
        )
    }
    assert "keras" in imported
    assert not {"transfer", "stages", "benchmarks"} & imported


def test_the_variables_are_those_that_were_given(tmp_path):
    code = (
        "import os; before = dict(os.environ)\n"
        "import benchmarks; print(benchmarks.INHERITED == before, before == dict(os.environ))"
    )
    given = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    found = subprocess.run(
        [sys.executable, "-c", code],
        cwd=REPOSITORY,
        env=given,
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout == "True False\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_ends_what_it_started_and_removes_its_folder(tmp_path, number):
    code = (
        "import os, signal, sys, tempfile\nfrom pathlib import Path\n"
        "from benchmarks.measuring import Place, stopped_by_signals\n"
        # a shell's background jobs ignore it, and so would what the tests start there
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "with stopped_by_signals(), tempfile.TemporaryDirectory() as folder:\n"
        "    place = Place(Path(folder), dict(os.environ), Path(folder) / 'log.txt')\n"
        "    place.run(['sh', '-c', 'echo $$ > ../started; sleep 60 & wait'])\n"
    )
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=REPOSITORY,
        env=os.environ | {"TMPDIR": str(temporary)},
        stderr=subprocess.DEVNULL,
    )
    started = temporary / "started"
    while not (started.exists() and started.read_text()):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(number)
    assert process.wait(30) != 0
    started_process = int(started.read_text())
    started.unlink()
    assert [*temporary.iterdir()] == []
    with pytest.raises(ProcessLookupError):
        os.kill(started_process, 0)


@pytest.mark.slow
def test_the_whole_bench_runs_in_a_tiny_world(tmp_path):
    project, file = tmp_path / "project", tmp_path / "bench.json"
    build_world(project)
    call("git", "add", "--all", cwd=project)
    call("git", "commit", "--quiet", "--message", "tiny", cwd=project)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    finished = subprocess.run(
        [sys.executable, "-m", "benchmarks.bench", "--quick", "--json", str(file)],
        cwd=project,
        env=environment() | {"TMPDIR": str(temporary), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert "No figure above counts" in finished.stdout
    found = json.loads(file.read_text())
    assert found["is_quick"]
    assert [row["what"] for row in found["rows"]] == [
        "from nothing: all stages",
        "from nothing: what the notebook does",
        "another head (train_head.units)",
        "the same",
        "another rate (finetune.learning_rate)",
        "of it, the training",
        "of it, the rest",
        "nothing changed",
        "predict: first row, first use of a model",
        "predict: first row",
        "train_scratch, 1 epochs, imports left out",
        "one step of train_head",
        "frozen pass, CPU",
    ]
    for row in found["rows"]:
        assert row["times"] > 0
        for side in (row["ours"], row["instead"]):
            assert side["peak_bytes"] > 1e7
            assert all(value > 0 for value in side["values"])
    # `weights` ran beforehand, for both sides
    assert sorted(stage["name"] for stage in found["stages"]) == sorted({*STAGES} - {"weights"})
    # nothing is left behind, and nothing of the project has changed
    assert [*temporary.iterdir()] == []
    assert call("git", "status", "--porcelain", "--ignored", cwd=project).stdout == ""


def test_other_parameters_than_the_notebooks_are_refused(tmp_path):
    (tmp_path / "params.yaml").write_text("backbone: {name: ResNet50}")
    with pytest.raises(PipelineError, match=r"backbone\.name is ResNet50 in the last commit"):
        bench.check_commit(place(tmp_path))
    (tmp_path / "params.yaml").write_text("backbone: {name: VGG16}\nsplit: {source: my/images}")
    with pytest.raises(PipelineError, match="'my/images' is not in the last commit"):
        bench.check_commit(place(tmp_path))
