"""Near-duplicates: images that look nearly alike but lie in different classes or different
splits."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from transfer.audit.issues import Issue
from transfer.dataset.perceptual_hashes import BITS

_BLOCK = 2**22  # hashes compared at once; 32 MB of them


def find_near_duplicates(
    audited: pd.DataFrame, others: pd.DataFrame, hashes: np.ndarray, bits: int
) -> list[Issue]:
    """The audited images that have a near-copy in another class, or in another split; each with its
    nearest one.

    The score is the share of the hash's bits that differ, so 0 means that the images look the same.
    Classes are compared only among the audited images; for the others only the path, the split and
    the hash are used.

    Args:
        audited, others: rows of the manifest; the others are near-copies to look for (the test
            split), not to report.
        hashes: perceptual hashes of the audited images and then of the others, uint64 (N + M,).
        bits: how many of the 64 bits may differ.
    """
    n = len(audited)
    paths = pd.concat([audited["path"], others["path"]]).to_numpy()
    splits = pd.concat([audited["split"], others["split"]]).to_numpy()
    sides = {
        "near_duplicate_in_other_class": (hashes[:n], audited["class_name"].to_numpy()),
        "near_duplicate_in_other_split": (hashes, splits),
    }
    issues = []
    for kind, (compared, names) in sides.items():
        nearest, distance = nearest_elsewhere(
            compared, np.unique(names, return_inverse=True)[1], bits
        )
        for row in np.flatnonzero(nearest[:n] >= 0).tolist():
            other = nearest[row]
            detail = f"{names[other]}: {paths[other]} ({distance[row]} of {BITS} bits differ)"
            issues.append(Issue(row, kind, distance[row] / BITS, detail))
    return issues


def nearest_elsewhere(
    hashes: np.ndarray, sides: np.ndarray, bits: int
) -> tuple[np.ndarray, np.ndarray]:
    """For each hash the nearest one on another side, within `bits` bits; of several, the first.

    Args:
        hashes: uint64 (N,).
        sides: the side of each hash, int (N,).

    Returns:
        Its row, int64 (N,), -1 if there is none, and in how many bits it differs, int64 (N,).
    """
    # Equal hashes on one side are one node,
    # or a thousand copies of an image would be a million pairs.
    _, first, node = np.unique(
        np.stack([hashes, sides.astype(np.uint64)], axis=1),
        axis=0,
        return_index=True,
        return_inverse=True,
    )
    none = np.iinfo(np.int64).max
    # distance and row in one number, so that the least of them is the nearest and then the first
    best = np.full(len(first), none)
    for one, other, distance in near_pairs(hashes[first], bits):
        apart = sides[first[one]] != sides[first[other]]
        one, other, distance = one[apart], other[apart], distance[apart].astype(np.int64) << 32
        np.minimum.at(best, one, distance | first[other])
        np.minimum.at(best, other, distance | first[one])
    best = best[node.reshape(-1)]
    return np.where(best == none, -1, best & 0xFFFFFFFF), best >> 32


def near_pairs(
    hashes: np.ndarray, bits: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """All pairs of hashes that differ in at most `bits` of 64 bits, in chunks: rows, rows, number
    of differing bits; some pairs come more than once.

    Cut into `bits` + 1 bands, two such hashes agree in one band at least (the pigeonhole principle;
    Manku, Jain and Das Sarma, "Detecting near-duplicates for web crawling", 2007), so only hashes
    that share a band are compared.

    Args:
        hashes: uint64 (N,).
        bits: less than 64.
    """
    edges = np.linspace(0, BITS, bits + 2).astype(int)
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        band = hashes >> np.uint64(low) & np.uint64(2 ** int(high - low) - 1)
        order = np.argsort(band, kind="stable")
        starts = np.flatnonzero(np.diff(band[order], prepend=~band[order[:1]]))
        sizes = np.diff(starts, append=len(order))
        for start, size in zip(starts[sizes > 1].tolist(), sizes[sizes > 1].tolist(), strict=True):
            members = order[start : start + size]
            step = max(_BLOCK // size, 1)
            for begin in range(0, size, step):
                block = members[begin : begin + step]
                distance = np.bitwise_count(hashes[block][:, None] ^ hashes[members])
                one, other = np.nonzero(distance <= bits)
                is_new = block[one] < members[other]
                one, other = one[is_new], other[is_new]
                yield block[one], members[other], distance[one, other]
