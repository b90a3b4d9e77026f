"""The weights of a network with the top that knows ImageNet's 1,000 classes: which file it is, and
where it is had. No Keras here."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from transfer.backbones.registry import ARCHITECTURES, find_architecture, is_own_model
from transfer.imagenet.download import DownloadError, algorithm_of, download, part_of
from transfer.runtime.checksums import file_checksum
from transfer.runtime.errors import PipelineError

# as in transfer/backbones/weight_sources.py, which takes seconds to import
HOST = "https://storage.googleapis.com/tensorflow/keras-applications"
SMALLEST = "MobileNetV3Large"


@dataclass(frozen=True)
class ImageNetModelInfo:
    """What is known of a network with its top.

    parameters: how many; the file has four bytes for each. side: of the images that it was trained
        on, in pixels.
    """

    parameters: int
    side: int = 224

    @property
    def megabytes(self) -> int:
        return round(4 * self.parameters / 1_000_000)


WHOLE = {  # by name, as in ARCHITECTURES; a test builds each and looks
    "VGG16": ImageNetModelInfo(138_357_544),
    "VGG19": ImageNetModelInfo(143_667_240),
    "Xception": ImageNetModelInfo(22_910_480, side=299),
    "ResNet50": ImageNetModelInfo(25_636_712),
    "InceptionV3": ImageNetModelInfo(23_851_784, side=299),
    "EfficientNetV2B0": ImageNetModelInfo(7_200_312),
    "ConvNeXtTiny": ImageNetModelInfo(28_589_128),
    "MobileNetV3Large": ImageNetModelInfo(5_507_432),
}


def check_name(name: str, said: str) -> None:
    """See that a network of this name knows the 1,000 classes.

    Args:
        said: where the name is from, for the error.

    Raises:
        PipelineError: a model file, or no name of the table; the nearest names, and all of them.
    """
    if is_own_model(name):
        raise PipelineError(
            f"{said} {name!r}: a model of your own knows no 1,000 classes of ImageNet; choose with "
            f"--backbone: {', '.join(ARCHITECTURES)}"
        )
    try:
        find_architecture(name)
    except PipelineError as error:  # it speaks of params.yaml, where a model file would do too
        words = (
            str(error)
            .removeprefix("backbone.name = ")
            .removesuffix(", or the path of a .keras file of your own")
        )
        raise PipelineError(f"{said} {words}") from None


def find_weights(name: str, given: Path | None) -> Path:
    """The file with the weights of a network of the table, checked: the given one, the one that
    Keras keeps, or a download.

    A download is kept where Keras would keep it, $KERAS_HOME/models or ~/.keras/models, so that
    either finds what the other has fetched.

    Raises:
        PipelineError: the given file is not there or another one, or the download cannot be had:
            what was tried, and what can be done.
        OSError: the download cannot be written.
    """
    checksum = ARCHITECTURES[name].whole.checksum
    if given is not None:
        _check_given(name, given, checksum)
        return given
    url = f"{HOST}/{ARCHITECTURES[name].whole.path}"
    kept = Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser() / "models" / Path(url).name
    there = "not there"
    if kept.exists():
        if (found := file_checksum(kept, algorithm_of(checksum))) == checksum:
            return kept
        there = f"another file, its {algorithm_of(checksum)} is {found}"
    print(
        f"label: fetching {url}, some {WHOLE[name].megabytes} MB, to {kept.parent}", file=sys.stderr
    )
    try:
        download(url, kept, checksum, most_bytes=8 * WHOLE[name].parameters)
    except DownloadError as reason:
        raise PipelineError(
            _cannot_be_had(name, {str(kept): there, url: str(reason)}, kept)
        ) from None
    return kept


def _check_given(name: str, given: Path, checksum: str) -> None:
    if not given.is_file():
        raise PipelineError(
            f"--weights {given}: {'not a file' if given.exists() else 'no such file'}"
        )
    if (found := file_checksum(given, algorithm_of(checksum))) == checksum:
        return
    others = {
        known.whole.checksum: f"it is {other}'s: --backbone {other}"
        for other, known in ARCHITECTURES.items()
    }
    others |= {
        known.headless.checksum: f"it is {other}'s without the top"
        for other, known in ARCHITECTURES.items()
    }
    raise PipelineError(
        f"--weights {given}: its {algorithm_of(checksum)} is {found}, but that of {name} with its "
        f"1,000 classes ({Path(ARCHITECTURES[name].whole.path).name}) is {checksum}; "
        f"{others.get(found, 'copy or fetch the file again')}"
    )


def _cannot_be_had(name: str, tried: dict[str, str], kept: Path) -> str:
    whole = ARCHITECTURES[name].whole
    smaller = (
        f"; or take a smaller network: --backbone {SMALLEST}, {WHOLE[SMALLEST].megabytes} MB"
        if name != SMALLEST
        else ""
    )
    come = (
        f" ({part_of(kept).stat().st_size:,} bytes have come and are kept)"
        if part_of(kept).exists()
        else ""
    )
    return (
        f"the weights of {name} with its 1,000 classes, {kept.name} of some "
        f"{WHOLE[name].megabytes} MB, cannot be had:\n"
        + "".join(f"  {place}: {reason}\n" for place, reason in tried.items())
        + f"Run this again where that address can be reached{come}; or fetch the file on another "
        f"machine and name it: --weights FILE, {algorithm_of(whole.checksum)} {whole.checksum}"
        f"{smaller}"
    )
