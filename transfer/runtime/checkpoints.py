"""Checkpoints of stages: a stage that was killed resumes and ends with the same bytes.

Checkpoints lie in `.checkpoints/STAGE/KEY/` under the project's root. The key is a fingerprint of
everything that determines the stage's bytes, so a changed parameter never finds an old checkpoint,
and experiments in temporary folders find their own again. A stage that succeeds deletes its
checkpoint. All of it can be deleted at any time; a checkpoint that cannot be written or read costs
time only.
"""

import json
import os
import shutil
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from transfer.runtime.dvc_files import PIPELINE, input_fingerprint

FOLDER = ".checkpoints"
# Checkpoints take at most a twentieth of the time:
# small networks would otherwise write longer than they train.
_SHARE = 20
_KEPT_DAYS = 14


@dataclass(frozen=True)
class State:
    """The state of a training between two epochs.

    numbers: what JSON holds exactly: history, best loss and its epoch. arrays: lists of arrays by
    name: variables of model and optimizer, the best weights so far.
    """

    numbers: dict
    arrays: dict[str, list[np.ndarray]]


class Checkpoint:
    """The latest state of one training.

    Args:
        folder: used by nothing else, except by another process with the same fingerprint.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._file = folder / "state.npz"
        self._written, self._cost = 0.0, 0.0
        self._failed = False

    def load(self) -> State | None:
        """The state that an earlier process stored, or None if there is none or it is damaged."""
        try:
            with self._file.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                numbers = json.loads(str(stored["numbers"]))
                arrays = {
                    name: [stored[f"{name}/{i}"] for i in range(count)]
                    for name, count in numbers.pop("counts").items()
                }
        except FileNotFoundError:
            return None
        except Exception as error:  # a damaged archive makes its reader raise many things
            print(f"{self._file} cannot be read ({error}); training starts again")
            return None
        return State(numbers, arrays)

    def is_due(self) -> bool:
        """Whether enough time has passed since the last one was written."""
        return not self._failed and time.monotonic() - self._written >= _SHARE * self._cost

    def save(self, state: State) -> None:
        """Replace the stored state. If the disk refuses, report it once and continue without
        checkpoints."""
        started = time.monotonic()
        numbers = state.numbers | {
            "counts": {name: len(arrays) for name, arrays in state.arrays.items()}
        }
        arrays = {
            f"{name}/{i}": array
            for name, arrays in state.arrays.items()
            for i, array in enumerate(arrays)
        }
        temporary = self.folder / f".tmp-{os.getpid()}.npz"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            np.savez(temporary, numbers=np.array(json.dumps(numbers)), **arrays)
            temporary.replace(self._file)
        except OSError as error:
            print(
                f"{self.folder}: no checkpoint can be written ({error.strerror or error}); if this "
                "run is killed, the stage starts again"
            )
            shutil.rmtree(self.folder, ignore_errors=True)
            self._failed = True
        self._written = time.monotonic()
        self._cost = self._written - started


@contextmanager
def resumable(stage: str, leave_out: Collection[str] = ()) -> Iterator[Checkpoint]:
    """The checkpoint of a stage with its present inputs. It is deleted when the block succeeds,
    together with those that were not used for _KEPT_DAYS days. Where there is no dvc.yaml, which
    says what the inputs are, nothing outlives the block.

    Args:
        leave_out: dependencies that what is kept does not rely on.
    """
    if not PIPELINE.exists():
        with TemporaryDirectory() as folder:
            yield Checkpoint(Path(folder, stage))
        return
    # DVC names the main workspace in DVC_ROOT, in the temporary folders of its experiments too.
    checkpoints = Path(os.environ.get("DVC_ROOT", ".")) / FOLDER / stage
    checkpoint = Checkpoint(checkpoints / input_fingerprint(stage, leave_out))
    yield checkpoint
    shutil.rmtree(checkpoint.folder, ignore_errors=True)
    for other in checkpoints.glob("*"):
        with suppress(FileNotFoundError):  # another process has just deleted its own
            if time.time() - other.stat().st_mtime > _KEPT_DAYS * 86400:
                shutil.rmtree(other, ignore_errors=True)
