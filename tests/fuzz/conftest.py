"""What all fuzz tests share: two sizes of run, a guard around each reader, and an honest count of
what was thrown."""

import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from hashlib import blake2b
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from transfer.decoding.rgb import BadImageError
from transfer.runtime.errors import PipelineError

# Processor time for one input of a few kilobytes: a reader that takes more hangs. One that waits
# for something takes none, and is given more time, since the machine may have other work.
SECONDS, WAITING_SECONDS = 10, 120
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# What no reader does while it reads: each is an event that Python announces to audit hooks.
FORBIDDEN = (
    "os.mkdir",
    "os.remove",
    "os.rename",
    "os.symlink",
    "os.link",
    "os.chmod",
    "os.truncate",
    "shutil.",
    "socket.connect",
)
FORBIDDEN += ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "pickle.find_class")

SHARED = {"deadline": None, "database": None, "suppress_health_check": list(HealthCheck)}
settings.register_profile("quick", max_examples=40, derandomize=True, **SHARED)
settings.register_profile("fuzz", max_examples=1000, **SHARED)

thrown: dict[str, Counter] = {}
distinct: dict[str, set[bytes]] = {}


def pytest_configure(config: pytest.Config) -> None:
    """`make fuzz` names its profile; everything else takes the quick one,
    the same inputs each time."""
    if not config.getoption("hypothesis_profile"):
        settings.load_profile("quick")


class HangError(BaseException):
    """No Exception, since readers turn these into their own error."""


def stop(*_: object) -> None:
    raise HangError(f"not done after {SECONDS} s of work or {WAITING_SECONDS} s of waiting")


class Guard:
    """Calls a reader and counts how it ended: a value, or the project's own error. Anything else
    that it raises goes through."""

    def __init__(self) -> None:
        self.active = False
        self.offences: list[str] = []
        sys.addaudithook(self._watch)

    def _watch(self, event: str, arguments: tuple) -> None:
        if not self.active:
            return
        if event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITING:
            self.offences.append(f"opens {arguments[0]} for writing")
        elif event.startswith(FORBIDDEN):
            self.offences.append(f"{event} {arguments}")

    def __call__(
        self, name: str, content: object, read: Callable[[], object], names: Path | str = ""
    ):
        """What `read()` returns, or None after an error of ours,
        whose sentence has to name `names`."""
        counts = thrown.setdefault(name, Counter())
        digest = blake2b(
            content
            if isinstance(content, bytes)
            else repr(content).encode("utf-8", "surrogatepass")
        ).digest()
        counts["inputs"] += 1
        distinct.setdefault(name, set()).add(digest)
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        signal.alarm(WAITING_SECONDS)
        self.active, self.offences = True, []
        try:
            value = read()
            counts["read"] += 1
        except (PipelineError, BadImageError) as error:
            value = None
            counts["refused"] += 1
            assert str(names) in str(error), error
            assert len(str(error).split()) > 2, error
        finally:
            self.active = False
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.alarm(0)
        assert not self.offences
        return value


@pytest.fixture(scope="session")
def guard() -> Iterator[Guard]:
    previous = {each: signal.signal(each, stop) for each in (signal.SIGALRM, signal.SIGPROF)}
    yield Guard()
    for each, handler in previous.items():
        signal.signal(each, handler)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not thrown:
        return
    terminalreporter.section("inputs thrown at the readers")
    terminalreporter.line(f"{'reader':<24}{'inputs':>9}{'distinct':>10}{'read':>9}{'refused':>9}")
    for name, counts in sorted(thrown.items()):
        terminalreporter.line(_row(name, counts, distinct[name]))
    terminalreporter.line(
        _row("all", sum(thrown.values(), Counter()), set().union(*distinct.values()))
    )


def _row(name: str, counts: Counter, different: set[bytes]) -> str:
    return (
        f"{name:<24}{counts['inputs']:>9,}{len(different):>10,}"
        f"{counts['read']:>9,}{counts['refused']:>9,}"
    )
