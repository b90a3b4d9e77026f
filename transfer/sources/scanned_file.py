"""The scanned files of a source: their hashes, problems, classes and splits, in columns."""

from array import array
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import NamedTuple, Self

import numpy as np

from transfer.decoding.value_ranges import ValueRange
from transfer.sources.source_file import IMAGE_NAME

SHA256_BYTES, _PERCEPTUAL_BYTES = 32, 8
_NO_PLACE = (None, "")


class Findings(NamedTuple):
    """What was found in a file beside its hashes; most files of a source have the same.

    problem: why it cannot be used, or None. The others: as `Examined` of transfer.decoding.rgb has
    them.
    """

    problem: str | None = None
    value_range: ValueRange | None = None
    tiff_alpha: bool | None = None
    alpha: bool | None = None
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ScannedFile:
    """One file, looked at: its hashes (64 and 16 hexadecimal digits), or why it cannot be used.

    split: None unless the source is pre-split. value_range, tiff_alpha, alpha, remarks: as
    `Examined` of transfer.decoding.rgb has them.
    """

    path: str
    problem: str | None = None
    sha256: str = ""
    perceptual: str = ""
    class_name: str = ""
    split: str | None = None
    value_range: ValueRange | None = None
    tiff_alpha: bool | None = None
    alpha: bool | None = None
    remarks: tuple[str, ...] = ()

    @property
    def findings(self) -> Findings:
        """What was found in it beside its hashes."""
        return Findings(*(getattr(self, name) for name in Findings._fields))


class _Codes:
    """Values, each kept once and named by its number."""

    def __init__(self, values: Iterable[Hashable] = ()):
        self.values = list(dict.fromkeys(values))
        self._numbers = {value: number for number, value in enumerate(self.values)}

    def number(self, value: Hashable) -> int:
        number = self._numbers.setdefault(value, len(self._numbers))
        if number == len(self.values):
            self.values.append(value)
        return number


class ScannedFiles(Sequence[ScannedFile]):
    """Scanned files in columns, because there may be millions: 48 bytes and the path of each, which
    as objects take 400. A ScannedFile is made when one is asked for.

    Files can be added to what the constructor or `take` made. The columns that are arrays show the
    memory itself: nothing can be added while one is in use.
    """

    def __init__(self, files: Iterable[ScannedFile] = ()):
        self.paths: list[str] = []
        self._sha256, self._perceptual = bytearray(), array("Q")
        self._findings, self._finding_codes = _Codes(), array("I")
        self._places, self._place_codes = _Codes(), array("I")
        for file in files:
            self.append(file)

    def append(self, file: ScannedFile) -> None:
        """Add a file.

        Raises:
            ValueError: a hash that does not consist of as many hexadecimal digits as it should.
            TypeError: a value of another type.
        """
        sha256 = bytes.fromhex(file.sha256) or bytes(SHA256_BYTES)
        perceptual = bytes.fromhex(file.perceptual) or bytes(_PERCEPTUAL_BYTES)
        if len(sha256) != SHA256_BYTES or len(perceptual) != _PERCEPTUAL_BYTES:
            raise ValueError(f"{file.path}: no hashes: {file.sha256!r}, {file.perceptual!r}")
        finding = self._findings.number(file.findings)
        place = self._places.number((file.split, file.class_name))
        self.paths.append(file.path)
        self._sha256 += sha256
        self._perceptual.append(int.from_bytes(perceptual))
        self._finding_codes.append(finding)
        self._place_codes.append(place)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> ScannedFile:
        findings = self._findings.values[self._finding_codes[row]]
        split, class_name = self._places.values[self._place_codes[row]]
        return self._file(row, findings, split, class_name)

    def __iter__(self) -> Iterator[ScannedFile]:
        columns = zip(self.findings(), self.splits(), self.class_names(), strict=True)
        return (self._file(row, *values) for row, values in enumerate(columns))

    def _file(
        self, row: int, findings: Findings, split: str | None, class_name: str
    ) -> ScannedFile:
        sha256 = self._sha256[SHA256_BYTES * row : SHA256_BYTES * (row + 1)].hex()
        return ScannedFile(
            path=self.paths[row],
            sha256="" if findings.problem else sha256,
            perceptual="" if findings.problem else f"{self._perceptual[row]:016x}",
            class_name=class_name,
            split=split,
            **findings._asdict(),
        )

    @property
    def sha256(self) -> np.ndarray:
        """Of each file, uint8 (N, 32); zeros of those with a problem."""
        return np.frombuffer(self._sha256, np.uint8).reshape(-1, SHA256_BYTES)

    @property
    def perceptual(self) -> np.ndarray:
        """The perceptual hash of each file, uint64 (N,); zeros of those with a problem."""
        return np.frombuffer(self._perceptual, np.uint64)

    @property
    def has_problem(self) -> np.ndarray:
        """Which files cannot be used, bool (N,)."""
        return self._lookup(
            self._finding_codes, [each.problem is not None for each in self._findings.values]
        )

    @property
    def classes(self) -> list[str]:
        """The names of the files' classes, sorted."""
        places = self._places.values
        present = np.unique(np.asarray(self._place_codes)).tolist()
        return sorted({places[code][1] for code in present})

    @property
    def labels(self) -> np.ndarray:
        """The number of each file's class in `classes`, int64 (N,)."""
        numbers = {name: number for number, name in enumerate(self.classes)}
        own = [numbers.get(class_name, -1) for _, class_name in self._places.values]
        return self._lookup(self._place_codes, own)

    def _lookup(self, codes: array, values: list) -> np.ndarray:
        return np.array(values or [0])[np.asarray(codes)]

    def findings(self) -> Iterator[Findings]:
        """The findings in each file."""
        return map(self._findings.values.__getitem__, self._finding_codes)

    def class_names(self) -> Iterator[str]:
        """The class of each file; empty if it has none."""
        return map([name for _, name in self._places.values].__getitem__, self._place_codes)

    def splits(self) -> Iterator[str | None]:
        """The split that the source has each file in, or None."""
        return map([split for split, _ in self._places.values].__getitem__, self._place_codes)

    def take(self, rows: np.ndarray) -> Self:
        """The files of some rows, int (M,), in the order of these."""
        taken = type(self)()
        taken.paths = np.array(self.paths, object)[rows].tolist()
        taken._sha256 = bytearray(self.sha256[rows])
        taken._perceptual = array("Q", self.perceptual[rows].tobytes())
        taken._findings, taken._places = self._findings, self._places
        taken._finding_codes = array("I", np.asarray(self._finding_codes)[rows].tobytes())
        taken._place_codes = array("I", np.asarray(self._place_codes)[rows].tobytes())
        return taken

    def by_path(self, rows: np.ndarray) -> Self:
        """The files of some rows, int (M,), in the order of their paths."""
        return self.take(rows[np.argsort(np.array(self.paths, object)[rows], kind="stable")])

    def without(self, paths: set[str]) -> Self:
        """The files but for those at some paths."""
        if not paths:
            return self
        is_kept = np.fromiter((path not in paths for path in self.paths), bool, len(self))
        return self.take(np.flatnonzero(is_kept))

    def placed(self, places: Iterable[tuple[str | None, str] | None], otherwise: str = "") -> Self:
        """The files with a split (None unless the source is split) and a class each, in their
        order.

        Args:
            places: None of a file that has none, which then cannot be used.
            otherwise: the reason for that.
        """
        files = self._with_places(_Codes(), array("I"))
        for row, place in enumerate(places):
            files._place_codes.append(files._places.number(place or _NO_PLACE))
            if place is None:
                own = self._findings.values[self._finding_codes[row]]
                refused = own._replace(problem=own.problem or otherwise)
                files._finding_codes[row] = files._findings.number(refused)
        return files

    def renamed(self, names: Mapping[str, str]) -> Self:
        """The files with other names of classes: `names` has those that change."""
        places = [(split, names.get(name, name)) for split, name in self._places.values]
        united = _Codes(places)
        codes = self._lookup(self._place_codes, [united.number(place) for place in places])
        return self._with_places(united, array("I", codes.astype(np.uint32).tobytes()))

    def _with_places(self, places: _Codes, codes: array) -> Self:
        files = type(self)()
        files.paths, files._sha256, files._perceptual = self.paths, self._sha256, self._perceptual
        files._findings, files._finding_codes = (
            _Codes(self._findings.values),
            array("I", self._finding_codes),
        )
        files._places, files._place_codes = places, codes
        return files


def companions(images: Iterable[str], others: Iterable[str]) -> set[str]:
    """The paths of what is no image, by its name neither, and is called as an image beside it: the
    RAW file or the film that a camera wrote with the picture.

    Args:
        images: paths of files that can be used. others: of those that cannot.
    """
    names = {
        path: plain.with_suffix("")
        for path in others
        if not IMAGE_NAME.search(path) and (plain := PurePosixPath(path)).suffix
    }
    if not names:
        return set()
    called = set(names.values())
    beside = {plain for path in images if (plain := PurePosixPath(path).with_suffix("")) in called}
    return {path for path, name in names.items() if name in beside}
