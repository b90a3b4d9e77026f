"""The tiny network as the pipeline would find it: published on a loopback server, as a download and
as a wheel."""

import shutil
from pathlib import Path

import keras
import pytest
import yaml

from tests.backbones.builders import onnx_of, publish_legacy, publish_wheel, tiny, with_values
from tests.helpers import http_servers
from transfer.backbones import registry
from transfer.backbones.registry import ARCHITECTURES
from transfer.backbones.weight_sources import DIGESTS, SOURCES, digest

PARAMS = yaml.safe_load(
    Path(__file__).parents[2].joinpath("params.yaml").read_text(encoding="utf-8")
)


@pytest.fixture
def published():
    """The weights that the tiny world's files hold."""
    return with_values(tiny())


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A server, which stands for Keras's and for pip's index, and the folder it serves."""
    http_servers.keep_to_loopback(monkeypatch)
    folder = tmp_path / "site"
    folder.mkdir()
    with http_servers.serve(folder) as server:
        http_servers.use_index(monkeypatch, server.url)
        monkeypatch.setattr(registry, "KERAS_HOST", server.url)
        monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
        yield folder, server


@pytest.fixture
def set_params(project):
    """Returns how to set the parameters of the stage that runs in the empty project folder."""

    def write(name="tiny", **weights):
        content = PARAMS | {
            "backbone": PARAMS["backbone"] | {"name": name},
            "weights": PARAMS["weights"] | weights,
        }
        Path("params.yaml").write_text(yaml.safe_dump(content))

    yield write
    shutil.rmtree(project)  # pytest keeps the folders of three runs, and VGG16 has 59 MB


@pytest.fixture
def world(site, set_params, published, monkeypatch):
    """The tiny network as a backbone of the pipeline, with two sources and a known digest;
    returns them."""
    folder, _ = site
    sources = [publish_legacy(folder, published), publish_wheel(folder, onnx_of(published))]
    monkeypatch.setattr(keras.applications, "tiny", tiny, raising=False)
    monkeypatch.setitem(ARCHITECTURES, "tiny", ARCHITECTURES["VGG16"])
    monkeypatch.setitem(SOURCES, "tiny", sources)
    monkeypatch.setitem(DIGESTS, "tiny", digest(published))
    set_params()
    return sources
