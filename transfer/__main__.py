"""Command-line entry point: `python -m transfer NAME ...`; `python -m transfer --help` lists the
commands.

Only the requested command's module is imported, so that help appears at once and the vulnerability
check needs none of the project's packages.
"""

import sys
from importlib import import_module

from transfer.runtime.program import run_program

COMMANDS = {  # transfer/commands/NAME.py has main(argv)
    "use": "look at your images and write params.yaml for them",
    "run": "bring the pipeline up to date and print the models' table",
    "predict": "label images with a trained model",
    "suggest": "choose which images to label next",
    "label": "label images with ImageNet's 1,000 classes",
    "demo": "try a trained model in a browser",
    "verify": "hash all files again that dvc.lock names, and print what repairs them",
    "repair": "repair dvc.lock and DVC's own files after DVC was killed",
    "reproduce": "run the pipeline in two fresh clones and compare all outputs",
    "shards": "check, list or delete shards in the bucket",
    "sweep": "search for better values of the trainings' parameters",
    "comment": "write what a pull request or an experiment changes as a comment",
    "vulnerabilities": "look up known vulnerabilities of all packages that are pinned",
}


def usage() -> str:
    """The list of commands, as `--help` prints it."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {does}" for name, does in COMMANDS.items()]
    return "\n".join(
        [
            "usage: python -m transfer COMMAND ...",
            "",
            "commands (each has a --help of its own):",
            *lines,
        ]
    )


def main(argv: list[str]) -> int:
    """Run the command that the first word names with the others; the exit code."""
    if not argv:
        print(usage(), file=sys.stderr)
        return 2
    name, *words = argv
    if name in ("-h", "--help"):
        print(usage())
        return 0
    if name not in COMMANDS:
        print(
            f"transfer: there is no command {name!r}; choose one of {', '.join(COMMANDS)}",
            file=sys.stderr,
        )
        return 2
    return run_program(name, lambda: import_module(f"transfer.commands.{name}").main(words))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
