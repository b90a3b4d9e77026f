"""Write a pull request's or experiment's score differences as a comment, and the charts of both
revisions as an HTML page.

    python -m transfer comment BASE FOLDER [--experiment NAME] [--run FILE]

writes FOLDER/comment.md and FOLDER/charts/index.html; `.github/workflows/` posts the one and keeps
the other.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

from transfer.dataset.scored_split import TEST, cautions, split_of
from transfer.runtime.errors import PipelineError
from transfer.runtime.program import command_parser

SCORES = "metrics/accuracy.json"
# what `make run` prints
SAME_BYTES = re.compile(r"^.*\d+ outputs are the bytes of the commit.*$", flags=re.MULTILINE)


def main(argv: list[str]) -> None:
    """Write the comment and its charts into the folder that was named."""
    parser = command_parser("comment", __doc__)
    parser.add_argument("base", metavar="BASE", help="the revision to compare the workspace with")
    parser.add_argument(
        "folder", metavar="FOLDER", type=Path, help="folder for the files; created if missing"
    )
    parser.add_argument(
        "--experiment",
        metavar="NAME",
        help="the workspace is this experiment's, so files that differ from the commit are fine",
    )
    parser.add_argument(
        "--run",
        metavar="FILE",
        type=Path,
        help="what `make run` printed; its line on the commit's bytes is quoted",
    )
    options = parser.parse_args(argv)
    options.folder.mkdir(parents=True, exist_ok=True)
    scores = dvc("metrics", "diff", "--md", "--all", options.base, "--targets", SCORES)
    dvc("plots", "diff", "--out", str(options.folder / "charts"), options.base)
    news = about_bytes(options.run.read_text(encoding="utf-8")) if options.run else []
    news += (
        about_experiment(options.experiment) if options.experiment else about_files(changed_files())
    )
    # a workspace without scores is compared too, and shows none of them
    found = json.loads(Path(SCORES).read_text(encoding="utf-8")) if Path(SCORES).exists() else {}
    split = split_of(found)
    (options.folder / "comment.md").write_text(comment(scores, news, split), encoding="utf-8")


def comment(scores: str, news: list[str], split: str = TEST) -> str:
    """Markdown with the scores' table and the lines of `news`; `split` is what the workspace's
    scores are of."""
    warned = [line for caution in cautions(split) for line in (caution, "")]
    said = f"Accuracy on the {split} split:"
    return "\n".join(["## What this changes", "", said, "", scores.strip(), "", *warned, *news])


def about_bytes(printed: str) -> list[str]:
    """The line of `make run` that says how many outputs are the bytes of the commit; empty if it
    printed no such line."""
    found = SAME_BYTES.search(printed)
    return [f"On this runner: {found[0].strip()}", ""] if found else []


def about_files(uncommitted: list[str]) -> list[str]:
    """What to do about tracked files that the run changed."""
    if not uncommitted:
        return []
    asked = "The run changed committed files; run `dvc repro` and commit them:"
    return [asked, "", *(f"- `{name}`" for name in uncommitted), ""]


def about_experiment(name: str) -> list[str]:
    """How others get the experiment."""
    return [
        f"This is the experiment `{name}`: `dvc exp pull origin {name}` fetches it, `dvc exp apply "
        f"{name}` applies it.",
        "",
    ]


def changed_files() -> list[str]:
    """The tracked files that differ from the commit."""
    finished = subprocess.run(
        # without -z git would write a name such as `grün.csv` with the numbers of its bytes
        ["git", "diff", "--name-only", "-z"],  # noqa: S607, git is found by PATH
        capture_output=True,
        text=True,
        check=True,
    )
    return finished.stdout.split("\0")[:-1]


def dvc(*words: str) -> str:
    """The output of a DVC command.

    Raises:
        PipelineError: the command fails; the message is DVC's.
    """
    finished = subprocess.run(  # noqa: S603, fixed words and a revision
        [sys.executable, "-m", "dvc", *words], capture_output=True, text=True, check=False
    )
    if finished.returncode:
        raise PipelineError(f"dvc {' '.join(words)}: {finished.stderr.strip()}")
    return finished.stdout
