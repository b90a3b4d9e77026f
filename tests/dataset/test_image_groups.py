"""Images that look alike by their perceptual hashes."""

import tracemalloc

from transfer.dataset.image_groups import group_images
from transfer.sources.scanned_file import ScannedFile, ScannedFiles


def groups_of(looks: list[tuple[str, int]], bits: int) -> list[int]:
    """The groups of images of these classes and perceptual hashes, which are different files."""
    images = ScannedFiles(
        ScannedFile(str(i), sha256=f"{i:064x}", perceptual=f"{look:016x}", class_name=name)
        for i, (name, look) in enumerate(looks)
    )
    return group_images(
        images, near_copies=True, near_copy_bits=bits, group_keys=[], ties=[]
    ).tolist()


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
