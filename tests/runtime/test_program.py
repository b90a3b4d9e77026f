"""What a person can correct ends a command in one sentence; a bug keeps its traceback."""

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.tiny_sources import REPOSITORY
from transfer.runtime.errors import PipelineError
from transfer.runtime.program import FAILED, INTERRUPTED, run_program

FULL = Path("/dev/full")


def raising(error: BaseException):
    def main() -> None:
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (PipelineError("a.b = 3: too much"), "a.b = 3: too much"),
        (OSError(28, "No space left on device", "data/x"), "data/x: No space left on device"),
        (
            OSError(28, "No space left on device", "data/.tmp-x", None, "data/x"),
            "data/x: No space left on device",
        ),
        (OSError("refused"), "refused"),
        (
            ModuleNotFoundError("No module", name="flask.app"),
            "flask is not installed; `make .venv/extra-demo` installs it",
        ),
    ],
)
def test_what_a_person_can_correct_is_one_line(error, sentence, capsys):
    assert run_program("name", raising(error)) == FAILED
    assert capsys.readouterr() == ("", f"name: {sentence}\n")


@pytest.mark.parametrize("error", [KeyError("x"), ModuleNotFoundError("No module", name="numpie")])
def test_a_bug_keeps_its_traceback(error):
    with pytest.raises(type(error)):
        run_program("name", raising(error))


def test_the_exit_code_is_that_of_the_command_or_of_ctrl_c(capsys):
    assert run_program("name", lambda: None) == 0
    assert run_program("name", lambda: 3) == 3
    assert run_program("name", raising(KeyboardInterrupt())) == INTERRUPTED
    assert capsys.readouterr() == ("", "")


PRINT = "lambda: print('Löwe … 猫')"


@pytest.mark.parametrize(
    "code",
    [
        f"from transfer.runtime.program import run_program; run_program('name', {PRINT})",
        f"from transfer.runtime.stage import run_stage; run_stage({PRINT})",
    ],
)
def test_a_character_that_the_terminal_lacks_is_a_question_mark(code, tmp_path):
    finished = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONIOENCODING": "latin-1", "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        check=True,
    )
    assert finished.stdout.splitlines()[0] == "Löwe ? ?".encode("latin-1")


def program(main: str) -> list[str]:
    """A command whose main function this is."""
    code = f"import sys\nfrom transfer.runtime.program import run_program\n{main}\n"
    return [sys.executable, "-c", f"{code}sys.exit(run_program('name', main))"]


def buffered() -> dict[str, str]:
    """The environment of a process that prints when its buffer is full, as it does by default."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}


CLOSED_EARLY = {
    "while it prints": "def main():\n    for _ in range(100_000):\n        print('line')",
    "before all of its buffer is written": "def main():\n    print('line')",
    "before its help is written": "def main():\n    print('help')\n    sys.exit(0)",
}


@pytest.mark.parametrize("main", CLOSED_EARLY.values(), ids=CLOSED_EARLY)
def test_a_reader_that_has_enough_is_no_error(main):
    with subprocess.Popen(
        program(main),
        cwd=REPOSITORY,
        env=buffered(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        process.stdout.close()
        assert process.wait(60) == 0
        assert process.stderr.read() == b""


def test_a_command_without_a_standard_output_ends_well():
    code = " ".join(map(shlex.quote, program("def main():\n    print('line')")))
    finished = subprocess.run(
        ["sh", "-c", f"{code} >&-"], cwd=REPOSITORY, stderr=subprocess.PIPE, text=True
    )
    assert (finished.returncode, finished.stderr) == (0, "")


@pytest.mark.skipif(not FULL.exists(), reason="needs Linux's full device")
def test_what_does_not_fit_on_the_disk_is_one_line():
    with FULL.open("w") as full:
        finished = subprocess.run(
            program("def main():\n    print('line')"),
            cwd=REPOSITORY,
            env=buffered(),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert (finished.returncode, finished.stderr) == (FAILED, "name: No space left on device\n")


@pytest.mark.parametrize(
    ("error", "said", "code"),
    [
        (
            "KeyboardInterrupt",
            "split: interrupted; nothing is half-written, and `dvc repro` continues\n",
            -signal.SIGINT,
        ),
        ("ZeroDivisionError", "Traceback ", FAILED),
    ],
)
def test_ctrl_c_is_a_sentence_while_a_stage_imports_and_a_bug_keeps_its_traceback(
    error, said, code
):
    finished = subprocess.run(
        [sys.executable, "-c", f"import stages\nraise {error}"],
        cwd=REPOSITORY,
        env=os.environ | {"DVC_STAGE": "split"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.stderr.startswith(said)
    assert (finished.stderr == said) == (error == "KeyboardInterrupt")
    assert finished.returncode == code
