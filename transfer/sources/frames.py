"""Animations: the picture that is read of one."""

import io

from PIL import Image

from transfer.sources.opened import ANIMATION, EMPTY_FRAMES, Opened

_LOOKED_AT = 50  # of the first pictures, for one that is not empty


def load_first(image: Image.Image, content: bytes) -> Opened:
    """The file's picture, loaded; of an animation the first, or, if that is transparent throughout,
    the first that is not.

    Args:
        image: of the file, not loaded yet. content: the file.
    """
    image.load()
    if not is_animated(image, content):
        return Opened(image)
    if not _is_empty(image):
        return Opened(image, remarks=(ANIMATION,))
    again = Image.open(io.BytesIO(content), formats=(image.format,))
    for number in range(1, _LOOKED_AT):
        try:
            again.seek(number)
            again.load()
        except Exception:  # EOFError at the end; what is damaged behind is not needed
            break
        if not _is_empty(again):
            return Opened(again, remarks=(EMPTY_FRAMES,))
    return Opened(image, remarks=(ANIMATION,))


def is_animated(image: Image.Image, content: bytes) -> bool:
    """Whether a file holds more than one picture."""
    if image.format == "GIF":  # which must look for a second frame, and loses its place
        image = Image.open(io.BytesIO(content), formats=("GIF",))
    return bool(getattr(image, "is_animated", False))


def _is_empty(image: Image.Image) -> bool:
    if not image.has_transparency_data:
        return False
    return image.convert("RGBA").getchannel("A").getextrema()[1] == 0
