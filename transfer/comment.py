"""What a pull request or an experiment changes, as a comment: the scores' differences, and each chart that has both revisions in it.

    python -m transfer.comment BASE FOLDER [--experiment NAME]

writes FOLDER/comment.md and a Vega-Lite file a chart beside it; `.github/workflows/` makes pictures of them and posts it all.
"""

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path

SHEETS = ("plots/mistakes/finetuned.png", "plots/augmentation.png")
SCORES = "metrics/accuracy.json"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m transfer.comment", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("base", help="the revision to compare the workspace with")
    parser.add_argument("folder", type=Path, help="gets the files; made where it is missing")
    parser.add_argument("--experiment", metavar="NAME", help="the workspace is this experiment's, so other files than committed are meant")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    shown = json.loads(dvc("plots", "diff", "--json", options.base))["data"]
    charts = {title: plots[0]["content"] for title, plots in shown.items() if "content" in plots[0]}
    for title, content in charts.items():
        (options.folder / f"{file_name(title)}.vl.json").write_text(
            content if isinstance(content, str) else json.dumps(content), encoding="utf-8"
        )
    scores = dvc("metrics", "diff", "--md", "--all", options.base, "--targets", SCORES)
    news = about_experiment(options.experiment) if options.experiment else about_files(changed_files())
    (options.folder / "comment.md").write_text(comment(scores, list(charts), news), encoding="utf-8")


def comment(scores: str, titles: list[str], news: list[str]) -> str:
    """Markdown whose pictures are NAME.png beside it, and the sheets that the pipeline draws."""
    lines = ["## What this changes", "", "Accuracy on the test split:", "", scores.strip(), "", *news]
    for title in titles:
        lines += [f"### {title}", "", f"![{title}]({file_name(title)}.png)", ""]
    lines += ["### Misclassified test images, and augmented views", ""]
    return "\n".join([*lines, *(f"![{Path(sheet).stem}]({Path(sheet).resolve()})" for sheet in SHEETS if Path(sheet).exists()), ""])


def about_files(uncommitted: list[str]) -> list[str]:
    if not uncommitted:
        return []
    asked = "The run gave other files than are committed; run `dvc repro` and commit them:"
    return [asked, "", *(f"- `{name}`" for name in uncommitted), ""]


def about_experiment(name: str) -> list[str]:
    return [f"This is the experiment `{name}`: `dvc exp pull origin {name}` fetches it, `dvc exp apply {name}` takes it over.", ""]


def file_name(title: str) -> str:
    return re.sub(r"\W+", "_", title)


def changed_files() -> list[str]:
    finished = subprocess.run(["git", "diff", "--name-only"], capture_output=True, text=True, check=True)  # noqa: S607, git is where git is
    return finished.stdout.split()


def dvc(*words: str) -> str:
    """What a DVC command prints; where it fails, its message is this program's."""
    finished = subprocess.run([sys.executable, "-m", "dvc", *words], capture_output=True, text=True, check=False)  # noqa: S603, fixed words and a revision
    if finished.returncode:
        sys.exit(f"dvc {' '.join(words)}: {finished.stderr.strip()}")
    return finished.stdout


if __name__ == "__main__":
    main()
