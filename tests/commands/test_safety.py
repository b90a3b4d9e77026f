"""What the code must not do, held by reading it; and that DVC's own state, which it unpickles, lies
in a private folder."""

import ast
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.tiny_pipeline import ROOT, call

MODULES = sorted(
    path
    for folder in ("stages", "transfer", "benchmarks")
    for path in (ROOT / folder).glob("**/*.py")
)
# its Unpickler looks no name up (tests/backbones/test_torch_file.py)
READS_PICKLES = ROOT / "transfer/backbones/torch_file.py"
UNPICKLING = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
FORBIDDEN = {
    "eval",
    "exec",
    "os.system",
    "os.popen",
    "yaml.load",
    "yaml.load_all",
    "yaml.unsafe_load",
    "yaml.full_load",
    "pd.read_pickle",
}
UNPACKING = {"extract", "extractall", "unpack_archive", "_extract_member"}
STARTING = {"run", "Popen", "call", "check_call", "check_output", "getoutput", "getstatusoutput"}


def name_of(node: ast.expr) -> str:
    """`a.b.c` of an attribute or a name; empty for anything else."""
    if isinstance(node, ast.Attribute):
        return f"{name_of(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def is_false(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Constant) and node.value is False


def offences(code: str) -> Iterator[str]:
    """Each place in the code that loads what can run, unpacks into the file system, or hands words
    to a shell."""
    tree = ast.parse(code)
    lists = {
        target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.List)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            origins = (
                [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else [alias.name for alias in node.names]
            )
            yield from (f"imports {name}" for name in origins if name.split(".")[0] in UNPICKLING)
            if isinstance(node, ast.ImportFrom) and node.module in (
                "subprocess",
                "os",
                "yaml",
                "shutil",
            ):
                yield f"imports names from {node.module}, which hides what is called"
        if not isinstance(node, ast.Call):
            continue
        name, given = name_of(node.func), {keyword.arg: keyword.value for keyword in node.keywords}
        if name in FORBIDDEN or "." in name and name.rpartition(".")[2] in UNPACKING:
            yield f"calls {name}"
        if name in ("np.load", "numpy.load") and not is_false(given.get("allow_pickle")):
            yield "np.load without allow_pickle=False"
        if "allow_pickle" in given and not is_false(given["allow_pickle"]):
            yield "allow_pickle"
        if "shell" in given and not is_false(given["shell"]):
            yield "shell"
        if "safe_mode" in given or name.endswith("enable_unsafe_deserialization"):
            yield "touches Keras's safe mode"
        if name.startswith("subprocess.") and name.rpartition(".")[2] in STARTING:
            words = node.args[0]
            if not (
                isinstance(words, ast.List) or isinstance(words, ast.Name) and words.id in lists
            ):
                yield f"{name} with {ast.unparse(words)}, which is no list"


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_unpickles_unpacks_or_hands_words_to_a_shell(module):
    expected = ["imports pickle"] if module == READS_PICKLES else []
    assert list(offences(module.read_text(encoding="utf-8"))) == expected


@pytest.mark.parametrize(
    "code",
    [
        *(
            "import pickle",
            "from joblib import load",
            "import marshal as m",
            "from os import system",
        ),
        *(
            "np.load(path)",
            "np.load(path, allow_pickle=True)",
            "np.lib.format.read_array(file, allow_pickle=flag)",
        ),
        *(
            "yaml.load(text, Loader)",
            "yaml.unsafe_load(text)",
            "eval(text)",
            "exec(text)",
            "os.system(text)",
            "os.popen(text)",
        ),
        *(
            "archive.extractall(folder)",
            "archive.extract(member)",
            "shutil.unpack_archive(path)",
            "pd.read_pickle(path)",
        ),
        *(
            "subprocess.run(words, shell=True)",
            "subprocess.run('ls')",
            "subprocess.Popen(f'ls {path}')",
            "subprocess.getoutput('ls')",
        ),
        *(
            "keras.models.load_model(path, safe_mode=False)",
            "keras.config.enable_unsafe_deserialization()",
        ),
    ],
)
def test_the_rule_sees_what_it_forbids(code):
    assert list(offences(code))


@pytest.mark.parametrize(
    "code",
    [
        *(
            "np.load(path, allow_pickle=False)",
            "archive.extractfile(member)",
            "yaml.safe_load(text)",
            "network.eval()",
        ),
        *(
            "subprocess.run(['ls', path])",
            "command = ['ls']\ncommand += [path]\nsubprocess.run(command)",
        ),
    ],
)
def test_the_rule_lets_the_rest_pass(code):
    assert list(offences(code)) == []


def test_dvc_keeps_what_it_unpickles_in_a_folder_of_the_projects_own(tmp_path):
    """The rule that sets up the environment makes the folder and names it; experiments in temporary
    folders get the name too."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "requirements.txt").touch()
    said = call("make", "--dry-run", ".venv/installed", cwd=tmp_path).stdout
    recipe = [line for line in said.splitlines() if ".dvc/tmp/site" in line]
    assert len(recipe) == 2
    call("git", "init", "--quiet", cwd=tmp_path)
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text("[core]\n    analytics = false\n")
    (tmp_path / ".gitignore").write_text(".dvc/tmp\n.dvc/cache\n.dvc/config.local\nout\n")
    (tmp_path / "params.yaml").write_text("x: 1\n")
    (tmp_path / "dvc.yaml").write_text(
        "stages:\n  copy:\n    cmd: cp params.yaml out\n    params: [x]\n    outs: [out]\n"
    )
    for line in recipe:
        call("sh", "-c", line.replace(".venv/bin/", ""), cwd=tmp_path)
    site = tmp_path / ".dvc/tmp/site"
    call("git", "add", "--all", cwd=tmp_path)
    call("git", "commit", "--quiet", "--message", "first", cwd=tmp_path)
    call("dvc", "exp", "run", "--temp", "--set-param", "x=2", cwd=tmp_path)
    (tmp_path / "sub").mkdir()
    call("dvc", "status", cwd=tmp_path / "sub")
    states = {path.name for path in (site / "repo").iterdir()}
    assert len(states) == 2, "of the workspace and of the experiment's folder"
    shared = Path("/var/tmp/dvc/repo")  # DVC's own choice on Linux, where anyone may write
    assert not any((shared / state).exists() for state in states)
    assert stat.S_IMODE(site.stat().st_mode) == 0o700
    assert list((tmp_path / "sub").iterdir()) == []
