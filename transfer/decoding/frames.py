"""Loads a picture file; of an animation, the picture that stands for it."""

import io

from PIL import Image

from transfer.decoding.opened import ANIMATION, EMPTY_FRAMES, Opened

_LOOKED_AT = 50  # of the first pictures, for one that is not empty


def load_first(image: Image.Image, content: bytes) -> Opened:
    """The file's picture, loaded; of an animation the first, or, if that is transparent throughout,
    the first that is not.

    Args:
        image: of the file, not loaded yet. content: the file.
    """
    covered = image.tile[0][1] if image.format == "GIF" and image.tile else None
    image.load()
    if covered and covered != (0, 0, *image.size) and not image.has_transparency_data:
        image = _transparent_beyond(image, covered)
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


def _transparent_beyond(image: Image.Image, box: tuple[int, int, int, int]) -> Image.Image:
    """A GIF with nothing but transparency beyond what its first picture covers, as browsers have
    it. Pillow has the first colour of the palette there."""
    inside = image.convert("RGB").crop(box)
    whole = Image.new("RGBA", image.size)
    whole.paste(inside, box)
    whole.format = image.format
    return whole


def is_animated(image: Image.Image, content: bytes) -> bool:
    """Whether a file holds more than one picture."""
    if content[:3] == b"GIF":  # which must look for a second frame, and loses its place
        image = Image.open(io.BytesIO(content), formats=("GIF",))
    return bool(getattr(image, "is_animated", False))


def _is_empty(image: Image.Image) -> bool:
    if not image.has_transparency_data:
        return False
    return image.convert("RGBA").getchannel("A").getextrema()[1] == 0
