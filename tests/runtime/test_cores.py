"""Cores and memory as control groups limit them, and the map over threads."""

import threading
import time
from itertools import count
from pathlib import Path

import pytest

from transfer.runtime.cores import (
    MemoryBudget,
    available_cores,
    available_memory,
    map_in_order,
)


@pytest.mark.parametrize("workers", [1, 2, 7, None])
def test_results_come_in_the_order_of_the_items(workers):
    def slow_first(i: int) -> int:
        time.sleep(0.01 if i % 5 == 0 else 0)
        return i * i

    assert list(map_in_order(slow_first, range(40), workers)) == [i * i for i in range(40)]


def lay_out(root: Path, files: dict[str, str], own: str) -> tuple[Path, Path]:
    """Control groups as files, and the file that names those of this process."""
    for name, text in files.items():
        (root / "groups" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "groups" / name).write_text(f"{text}\n")
    (root / "own").write_text(own)
    return root / "groups", root / "own"


@pytest.mark.parametrize(
    ("files", "own", "expected"),
    [
        ({"cpu.max": "max 100000"}, "0::/\n", 8),
        ({"cpu.max": "50000 100000"}, "0::/\n", 1),
        ({"cpu.max": "150000 100000"}, "0::/\n", 2),
        ({"cpu.max": "nonsense"}, "0::/\n", 8),
        ({"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "100000"}, "4:cpu:/\n", 1),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, "4:cpu:/\n", 8),
        ({"a/b/cpu.max": "200000 100000"}, "0::/a/b\n", 2),
        ({"a/cpu.max": "300000 100000", "a/b/cpu.max": "max 100000"}, "0::/a/b\n", 3),
        ({"a/cpu.max": "100000 100000", "a/b/cpu.max": "400000 100000"}, "0::/a/b\n", 1),
        ({"cpu.max": "max 100000", "other/cpu.max": "100000 100000"}, "0::/a\n", 8),
        ({"cpu.max": "200000 100000"}, "0::/docker/abc\n", 2),
        ({"cpu.max": "200000 100000"}, "", 2),
        ({"x/cpu.max": "100000 100000"}, "0::/../x\n", 8),
        (
            {"cpu/a/cpu.cfs_quota_us": "200000", "cpu/a/cpu.cfs_period_us": "100000"},
            "7:memory:/b\n4:cpu:/a\n",
            2,
        ),
        (
            {"cpu,cpuacct/a/cpu.cfs_quota_us": "50", "cpu,cpuacct/a/cpu.cfs_period_us": "10"},
            "4:cpu,cpuacct:/a\n",
            5,
        ),
        ({"cpu.max": "100000 0"}, "0::/\n", 8),
        ({"cpu.max": "100000 100000"}, "nonsense", 1),
    ],
)
def test_cores_follow_the_quotas_of_all_groups_above(tmp_path, monkeypatch, files, own, expected):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert available_cores(*lay_out(tmp_path, files, own)) == expected


@pytest.mark.parametrize(
    ("files", "own", "expected"),
    [
        ({"a/b/memory.max": "3000", "a/b/memory.current": "1000"}, "0::/a/b\n", 2000),
        (
            {
                "a/memory.max": "1500",
                "a/memory.current": "1000",
                "a/b/memory.max": "3000",
                "a/b/memory.current": "1000",
            },
            "0::/a/b\n",
            500,
        ),
        (
            {"memory.max": "max", "memory.high": "900", "memory.current": "100"},
            "0::/\n",
            800,
        ),
        (
            {
                "memory.max": "3000",
                "memory.current": "2900",
                "memory.stat": "anon 400\ninactive_file 2400\nactive_file 100",
            },
            "0::/\n",
            2500,
        ),
        (
            {
                "memory/a/memory.limit_in_bytes": "3000",
                "memory/a/memory.usage_in_bytes": "2900",
                "memory/a/memory.stat": "inactive_file 1\ntotal_inactive_file 2000",
                "memory/memory.limit_in_bytes": "9223372036854771712",
                "memory/memory.usage_in_bytes": "5000",
            },
            "5:memory:/a\n0::/x\n",
            2100,
        ),
        ({"memory.max": "100", "memory.current": "200"}, "0::/\n", 0),
    ],
)
def test_memory_follows_the_limits_of_all_groups_above(tmp_path, files, own, expected):
    assert available_memory(*lay_out(tmp_path, files, own)) == expected


def test_memory_without_a_limit_is_what_the_system_has_free(tmp_path):
    assert available_memory(*lay_out(tmp_path, {"memory.max": "max"}, "0::/\n")) > 10**6


def test_threads_take_memory_in_turns_within_the_budget():
    budget, held, most = MemoryBudget(0.5, lambda: 200), [], []

    def take(size: int) -> None:
        with budget.reserve(size):
            held.append(size)
            most.append(sum(held))
            time.sleep(0.01)
            held.remove(size)

    list(map_in_order(take, [40, 40, 40, 60, 500, 10, 90] * 3, workers=6))
    assert max(total for total in most if total < 500) <= 100
    assert [total for total in most if total >= 500] == [500] * 3


def test_what_needs_no_memory_waits_for_none():
    budget = MemoryBudget(0.5, lambda: 2)
    with budget.reserve(100), budget.reserve(0):
        pass


def test_no_items_give_no_results():
    assert list(map_in_order(str, [])) == []


def test_items_are_drawn_only_as_results_are_taken():
    drawn = []
    results = map_in_order(str, (drawn.append(i) or i for i in count()), workers=2)
    for i in range(10):
        assert next(results) == str(i)
        assert len(drawn) == i + 5  # this one, and twice the workers ahead
    results.close()


def test_work_is_spread_over_the_threads():
    both_are_here = threading.Barrier(2, timeout=5)
    list(map_in_order(lambda _: both_are_here.wait(), range(2), workers=2))


def test_an_exception_of_the_function_comes_in_its_place():
    results = map_in_order(lambda i: 1 // (3 - i), range(10), workers=2)
    assert [next(results) for _ in range(3)] == [0, 0, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_an_exception_of_the_items_reaches_the_caller():
    def items():
        yield 1
        raise KeyError("torn")

    with pytest.raises(KeyError, match="torn"):
        list(map_in_order(str, items(), workers=2))


def test_a_caller_who_stops_early_does_not_wait_for_what_is_queued():
    done = []

    def slow(i: int) -> int:
        time.sleep(0.05)
        done.append(i)
        return i

    results = map_in_order(slow, count(), workers=1)
    next(results)
    results.close()
    assert len(done) < 3  # the first, and at most the one under way
