"""What `split` did to the data, in sentences: passed over, scaled, laid over a background."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from transfer.sources.scan import ScannedFile
from transfer.sources.source_file import is_known_clutter, is_sidecar
from transfer.sources.value_ranges import KINDS, PixelRules


def describe_clutter(paths: Iterable[str]) -> list[str]:
    """Sentences on what was passed over: clutter, text beside images, and hidden files, named."""
    clutter, text, hidden = Counter(), Counter(), []
    for path in paths:
        name = PurePosixPath(path).name
        if path == ".":
            continue
        if is_known_clutter(name):
            clutter["._*" if name.startswith("._") else name] += 1
        elif name.startswith("."):
            hidden.append(path)
        elif is_sidecar(name):
            text[PurePosixPath(name.lower()).suffix or name] += 1
    sentences = []
    if clutter:
        sentences.append(f"left by systems and programs, and passed over: {_counted(clutter)}")
    if text:
        sentences.append(f"text and tables beside the images, passed over: {_counted(text)}")
    if hidden:
        named = ", ".join(map(repr, sorted(set(hidden))[:6]))
        sentences.append(
            f"hidden files or folders (their names begin with a dot), passed over: {len(hidden)}, "
            f"{named}; rename a class that is called so"
        )
    return sentences


def _counted(counter: Counter[str]) -> str:
    return ", ".join(f"{name} ({count})" for name, count in sorted(counter.items()))


def describe_remarks(images: Sequence[ScannedFile]) -> list[str]:
    """Sentences on how images were decoded, with the number of each."""
    counts = Counter(remark for image in images for remark in image.remarks)
    return [f"{remark}: {_images(count)}" for remark, count in sorted(counts.items())]


def describe_rules(rules: PixelRules) -> list[str]:
    """Sentences on the ranges that were derived from the training images."""
    names = {"unsigned": "unsigned", "signed": "signed", "float": "floating-point"}
    return [
        f"{names[kind]} samples whose range no format fixes: {low:g} is black and {high:g} is "
        "white in every image, by the training images"
        for kind in KINDS
        if kind in rules.ranges
        for low, high in [rules.ranges[kind]]
    ]


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count} images"
