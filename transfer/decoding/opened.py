"""An image file's pixels as they are stored, and the remarks on how they were read."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from PIL import ExifTags, Image

from transfer.decoding.samples import Samples

# Remarks on an image that was read, each counted over a data set.
ANIMATION = "an animation or several pages: the first picture is read"
EMPTY_FRAMES = "an animation whose first picture is empty: the first that is not is read"
THUMBNAIL_FIRST = "a TIFF whose first page is a thumbnail: the picture itself is read"
REDUCED = "more than 100 megapixels: read at a half, a quarter or less of its size"
NO_END = "a JPEG without its end marker, with all rows: read"
METADATA = "metadata too large to unpack: left unread"
WRONG_CHECKSUM = "metadata of a PNG whose checksum is wrong: left unread"
ALPHA_ZERO = "equally transparent throughout: the transparency is ignored"
FLATTENED = "transparent parts: laid over decode.background"
NO_DATA = "pixels that are marked as having no data: shown as decode.background"
TIFF_ALPHA = "a band beyond colour in a TIFF, which is no transparency: left out"
FALSE_ALPHA = "a fourth band that is no transparency by its values: left out"
EXTRA_BANDS = "several bands beyond colour in a TIFF: left out"
GUESSED_BANDS = "three bands without a meaning in a TIFF: read as red, green, blue"
OTHER_COLOURS = "a colour profile or gamma that is not that of sRGB: not applied"
CHANNELS = "three channels stored as pages of a TIFF: read as red, green, blue"
SCALED = "more than 8 bits: scaled to 8"


@dataclass(frozen=True)
class Opened:
    """Pixels of a file as they are stored, in Pillow's hands or as samples.

    orientation: the EXIF tag, of samples; that of Pillow's images is in their metadata.
    is_tiff: whether it is a TIFF, whose fourth band may be something else than transparency.
    drop_alpha: the fourth band is no transparency, though Pillow says so.
    info: what the file says of the colours of samples, under Pillow's names.
    """

    image: Image.Image | None = None
    samples: Samples | None = None
    orientation: int = 1
    is_tiff: bool = False
    drop_alpha: bool = False
    remarks: tuple[str, ...] = ()
    info: Mapping = field(default_factory=dict)


def orientation_of(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 where the metadata has none or is damaged."""
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # whatever garbage in the metadata makes Pillow raise, the pixels are sound
        return 1
