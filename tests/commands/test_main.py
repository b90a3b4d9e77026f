"""`python -m transfer` knows all commands and imports no more than the one it runs needs."""

import re
import subprocess
import sys

import pytest

from tests.helpers.tiny_sources import REPOSITORY
from transfer.__main__ import COMMANDS, main
from transfer.runtime.extras import EXTRAS


def test_every_module_with_a_main_is_a_command_and_every_command_such_a_module():
    folder = REPOSITORY / "transfer/commands"
    modules = {
        path.parent.name if path.name == "__init__.py" else path.stem: path
        for path in [*folder.glob("*.py"), *folder.glob("*/__init__.py")]
    }
    found = {
        name
        for name, path in modules.items()
        if re.search(r"^def main\(|\bimport main$", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert found == set(COMMANDS)


def test_help_lists_all_commands_and_imports_none():
    code = (
        "import sys\nfrom transfer.__main__ import main\nmain(['--help'])\n"
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'dvc', 'keras', 'numpy', "
        "'pandas', 'tensorflow', 'yaml'}))\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout
    for name, does in COMMANDS.items():
        assert f"  {name} " in said
        assert does in said
    assert said.splitlines()[-1] == "[]"


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_a_help_of_its_own_which_needs_no_extra(name, capsys, monkeypatch):
    for package in EXTRAS:
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(SystemExit) as exit_:
        main([name, "--help"])
    assert exit_.value.code == 0
    assert f"python -m transfer {name}" in capsys.readouterr().out


def test_nothing_and_what_there_is_not_are_refused_with_the_list(capsys):
    assert main([]) == 2
    assert "predict" in capsys.readouterr().err
    assert main(["predcit"]) == 2
    assert capsys.readouterr().err.startswith(
        "transfer: there is no command 'predcit'; choose one of use, run, predict, "
    )


@pytest.mark.parametrize(("command", "package"), [("demo", "flask"), ("sweep", "optuna")])
def test_a_command_without_its_extra_ends_in_the_sentence_that_says_what_to_run(command, package):
    code = (
        f"import sys\nsys.modules[{package!r}] = None\nfrom transfer.__main__ import main\n"
        f"sys.exit(main([{command!r}]))\n"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 1
    assert finished.stderr == (
        f"{command}: {package} is not installed; `make .venv/extra-{command}` installs it\n"
    )


def test_another_module_that_is_missing_is_a_bug_with_a_traceback(monkeypatch):
    monkeypatch.setitem(sys.modules, "transfer.commands.verify", None)
    with pytest.raises(ModuleNotFoundError, match=r"transfer\.commands\.verify"):
        main(["verify"])
