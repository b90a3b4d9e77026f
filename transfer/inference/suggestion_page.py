"""The images to label next, on one self-contained HTML page."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from transfer.runtime.files import write_bytes

SIDE = 192  # pixels of the longer side of a picture
TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Suggestion:
    """One image to label.

    path: as it was found. predicted, probability: the likeliest class, calibrated. doubt: 0 to 1.
    unlike: how many of a hundred validation images are nearer to the training images. score: the
        product by which it was chosen.
    """

    path: str
    predicted: str
    probability: float
    doubt: float
    unlike: float
    score: float


def write_page(
    path: Path, suggestions: Sequence[Suggestion], pictures: dict[str, str], title: str
) -> None:
    """Write the page: a picture for each image, in the order of the suggestions.

    Args:
        pictures: data URLs by path, from `thumbnail`; an image without one is named alone.
    """
    # what people name their files is hostile text: it is escaped, and the page's own policy keeps
    # anything that slipped through from running
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined
    )
    page = environment.get_template("suggestions.html.j2").render(
        title=title, suggestions=suggestions, pictures=pictures
    )
    write_bytes(path, page.encode("utf-8", "backslashreplace"))


def thumbnail(image: Image.Image) -> str:
    """An RGB image as a small JPEG in a data URL."""
    small = image.copy()
    small.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
