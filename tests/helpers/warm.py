"""Runs modules one after the other, each in a folder and a process of its own that begins with the
packages of the stages imported.

Importing these packages takes more processor time than most stages need in a tiny world. So this
program imports them once; each run is a fork of it that imports the project's modules from its
folder, as `python -m MODULE` does there.

    python -m tests.helpers.warm RUNS    # JSON: lists of a folder, a module and its words
"""

import json
import os
import runpy
import sys

import transfer.compute.keras  # noqa: F401  Keras and TensorFlow as a stage imports them

# isort: split

import matplotlib.pyplot  # noqa: F401
import pandas  # noqa: F401
import scipy.stats  # noqa: F401
import sklearn  # noqa: F401


def main(runs: list[list[str]]) -> int:
    """Run all of them, or up to the first that fails; 0, or how that one ended."""
    for name in [name for name in sys.modules if name.split(".")[0] == "transfer"]:
        del sys.modules[name]
    for folder, module, *words in runs:
        process = os.fork()
        if process == 0:
            os.chdir(folder)
            sys.path[0] = folder
            sys.argv = [module, *words]
            runpy.run_module(module, run_name="__main__", alter_sys=True)
            return 0
        _, status = os.waitpid(process, 0)
        if status:
            return os.waitstatus_to_exitcode(status)
    return 0


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
