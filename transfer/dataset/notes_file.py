"""data/split/notes.json: what `split` did to the data, in sentences."""

import json
from collections.abc import Sequence
from pathlib import Path

from transfer.runtime.errors import PipelineError
from transfer.runtime.files import write_json

NOTES = Path("data/split/notes.json")


def write_notes(sentences: Sequence[str], path: Path = NOTES) -> None:
    """Write the sentences, in the order in which `split` prints them."""
    write_json(path, {"notes": list(sentences)})


def read_notes(path: Path = NOTES) -> list[str]:
    """The sentences; none if the file is missing.

    Raises:
        PipelineError: the file is damaged.
    """
    try:
        notes = json.loads(path.read_text(encoding="utf-8"))["notes"]
        if not isinstance(notes, list) or not all(isinstance(note, str) for note in notes):
            raise ValueError("not a list of sentences")
    except FileNotFoundError:
        return []
    except (ValueError, TypeError, KeyError, OSError) as error:
        raise PipelineError(
            f"{path} is damaged ({error}); delete it and run `dvc repro split`"
        ) from None
    return notes
