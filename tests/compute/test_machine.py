"""What this machine offers: accelerators, instructions, and memory for interpreters."""

import pytest

from transfer.compute import accelerators
from transfer.compute.accelerators import may_have_accelerator
from transfer.compute.litert import divide_cores
from transfer.runtime import instructions
from transfer.runtime.cores import available_memory
from transfer.runtime.instructions import missing_instructions


@pytest.mark.parametrize(
    ("cores", "free", "expected"),
    [
        (1, 10**12, (1, 1)),
        (2, 10**12, (2, 1)),
        (64, 10**12, (64, 1)),
        (64, 4 * 10**9, (9, 7)),
        (6, 16 * 10**8, (3, 2)),
        (8, 0, (1, 8)),
    ],
)
def test_memory_bounds_the_interpreters_and_each_gets_the_threads_that_remain(
    cores, free, expected
):
    interpreters, threads = divide_cores(cores, 10**8, free)
    assert (interpreters, threads) == expected
    assert interpreters * threads <= cores


@pytest.mark.parametrize(
    ("names", "expected"),
    [([], False), (["null"], False), (["nvidia0"], True), (["kfd"], True), (["dxg"], True)],
)
def test_devices_say_whether_the_backend_is_worth_asking(tmp_path, monkeypatch, names, expected):
    monkeypatch.setattr(accelerators.sys, "platform", "linux")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    for name in names:
        (tmp_path / name).touch()
    assert may_have_accelerator(tmp_path) is expected


def test_hidden_nvidia_cards_are_none(tmp_path, monkeypatch):
    monkeypatch.setattr(accelerators.sys, "platform", "linux")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    (tmp_path / "nvidia0").touch()
    assert not may_have_accelerator(tmp_path)
    (tmp_path / "kfd").touch()
    assert may_have_accelerator(tmp_path)


@pytest.mark.parametrize(
    ("flags", "missing"),
    [
        ("fpu sse2 avx avx2 fma", None),
        ("fpu sse2 avx", "avx2"),
        ("fpu avx2", "fma"),
        ("avx2 fma avx512f", None),
    ],
)
def test_a_processor_is_asked_for_avx2_and_fma(tmp_path, monkeypatch, flags, missing):
    (tmp_path / "cpuinfo").write_text(
        f"processor : 0\nflags : {flags}\n\nprocessor : 1\nflags : {flags}\n"
    )
    monkeypatch.setattr(instructions, "INFORMATION", tmp_path / "cpuinfo")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert missing_instructions() == missing
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert missing_instructions() is None


def test_a_control_group_bounds_the_memory(tmp_path):
    everything = available_memory(tmp_path)
    assert everything > 0
    (tmp_path / "memory.max").write_text("3000000\n")
    (tmp_path / "memory.current").write_text("1000000\n")
    assert available_memory(tmp_path) == 2_000_000
    (tmp_path / "memory.max").write_text("max\n")
    assert available_memory(tmp_path) == pytest.approx(everything, rel=0.5)
