"""Images that look alike by their perceptual hashes."""

import time
import tracemalloc

import numpy as np
import pytest

from transfer.dataset.image_groups import count_alike_in_two_classes, group_images
from transfer.sources.scanned_file import ScannedFile, ScannedFiles


def images_of(looks: list[tuple[str, int]], contents: list[int] | None = None) -> ScannedFiles:
    """Images of these classes and perceptual hashes; different files, unless contents are given."""
    return ScannedFiles(
        ScannedFile(str(i), sha256=f"{content:064x}", perceptual=f"{look:016x}", class_name=name)
        for i, ((name, look), content) in enumerate(
            zip(looks, contents or range(len(looks)), strict=True)
        )
    )


def groups_of(looks: list[tuple[str, int]], bits: int) -> list[int]:
    options = {"near_copies": True, "near_copy_bits": bits, "group_keys": [], "ties": []}
    return group_images(images_of(looks), **options).tolist()


def test_near_copies_of_near_copies_are_one_group_within_a_class():
    looks = [("a", 0b1111), ("a", 0), ("b", 0b1), ("a", 0b11), ("a", 0xFF00), ("b", 0b11)]
    assert groups_of(looks, 0) == [0, 1, 2, 3, 4, 5]
    assert groups_of(looks, 1) == [0, 1, 2, 3, 4, 2]
    assert groups_of(looks, 2) == [0, 0, 1, 0, 2, 1]


def test_frames_that_all_look_alike_take_memory_in_proportion_to_their_number():
    frames = [("a", look) for look in range(2**11)]  # of eleven bits
    tracemalloc.start()
    assert set(groups_of(frames, 11)) == {0}
    assert tracemalloc.get_traced_memory()[1] < 5 * 2**20  # a tie for each pair took 150 MB
    tracemalloc.stop()


@pytest.mark.parametrize("seed", range(5))
def test_images_are_counted_that_look_like_a_different_file_of_another_class(seed):
    rng = np.random.default_rng(seed)
    labels, looks, contents = (rng.integers(0, most, 40).tolist() for most in (3, 12, 15))
    rows = list(zip(labels, looks, contents, strict=True))
    expected = sum(
        any(look == k and label != n and content != c for n, k, c in rows)
        for label, look, content in rows
    )
    images = images_of(
        [("abc"[label], look) for label, look in zip(labels, looks, strict=False)], contents
    )
    assert count_alike_in_two_classes(images) == expected


def test_the_time_to_count_them_is_in_proportion_to_the_frames_of_a_fixed_camera():
    images = images_of([("ok", 7)] * 8000 + [("defect", 8)] * 2)
    started = time.process_time()
    assert count_alike_in_two_classes(images) == 0
    assert time.process_time() - started < 1
