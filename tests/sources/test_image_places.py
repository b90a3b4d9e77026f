"""Where workers find the images of a source, and what they refuse to read there."""

from dataclasses import replace

import pytest

from tests.helpers.tiny_sources import build
from transfer.sources import source_file
from transfer.sources.image_places import UnseenSourceError, find_places

FILES = {"cat/1.png": b"one", "dog/2.png": b"two"}


@pytest.mark.parametrize("kind", ["folder", "set.zip", "set.tar"])
def test_files_are_read_at_their_places(tmp_path, kind):
    images, parts = find_places(build(tmp_path / kind, FILES), [*FILES], follow_links=False)
    images.check_seen()
    assert {file.path: file.load().content for file in images.files([*FILES], parts)} == FILES


def test_an_archive_that_is_read_from_its_beginning_has_no_places(tmp_path):
    source = build(tmp_path / "set.tar.gz", FILES)
    assert find_places(source, [*FILES], follow_links=False) is None


def test_links_out_of_the_folder_and_files_that_are_too_large_are_not_read(tmp_path, monkeypatch):
    folder = build(tmp_path / "set", FILES | {"cat/large.png": bytes(1001)})
    (tmp_path / "secret.png").write_bytes(b"secret")
    (folder / "cat/link.png").symlink_to(tmp_path / "secret.png")
    monkeypatch.setattr(source_file, "MAX_FILE_BYTES", 1000)
    images, _ = find_places(folder, [*FILES], follow_links=False)
    link, large, gone = images.files(["cat/link.png", "cat/large.png", "cat/gone.png"], None)
    assert link.load().problem == "cannot be read: a link that leaves the folder"
    assert "1,001 bytes, more than the 1,000" in large.load().problem
    assert "there is no such file on " in gone.load().problem
    (link,) = replace(images, follow_links=True).files(["cat/link.png"], None)
    assert link.load().content == b"secret"


@pytest.mark.parametrize("kind", ["folder", "set.zip"])
def test_a_source_that_is_not_mounted_or_is_another_one_is_not_seen(tmp_path, kind):
    source = build(tmp_path / kind, FILES)
    images, _ = find_places(source, [*FILES], follow_links=False)
    source.rename(tmp_path / "elsewhere")
    build(source, {"cow/3.png": b"three"})
    with pytest.raises(UnseenSourceError, match="does not see this"):
        images.check_seen()
