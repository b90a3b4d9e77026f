"""HTTP servers on 127.0.0.1, one a test: real downloads that leave the machine nowhere."""

import io
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Loopback:
    url: str
    paths: list[str] = field(default_factory=list)  # of the requests so far, in their order
    starts: list[int] = field(default_factory=list)  # the byte from which each file was sent


@contextmanager
def serve(
    folder: Path, drop_after: int | None = None, *, ranges: bool = False
) -> Iterator[Loopback]:
    """Serve the files of a folder; with `drop_after` the connection breaks after so many bytes,
    with `ranges` a file may be had in part."""

    class Handler(SimpleHTTPRequestHandler):
        def send_head(self):
            start = (
                int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
                if ranges
                else 0
            )
            loopback.starts.append(start)
            if start == 0:
                return super().send_head()
            content = Path(self.translate_path(self.path)).read_bytes()
            if start >= len(content):
                return self.send_error(416)
            self.send_response(206)
            self.send_header("Content-Length", str(len(content) - start))
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.end_headers()
            return io.BytesIO(content[start:])

        def copyfile(self, source, outputfile):
            outputfile.write(source.read(-1 if drop_after is None else drop_after))

        def log_message(self, *_):
            loopback.paths.append(self.path)

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=folder)) as server:
        loopback = Loopback(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield loopback
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def stall() -> Iterator[str]:
    """A server that takes the connection and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def refuse() -> str:
    """The address of a server that is not there."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}"


def keep_to_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the machine's proxies and pip's settings,
    so that nothing beyond 127.0.0.1 can answer."""
    for name in [
        name for name in os.environ if name.startswith("PIP_") or name.lower().endswith("_proxy")
    ]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    monkeypatch.setenv("PIP_INDEX_URL", f"{refuse()}/simple")


def use_index(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", f"{url}/simple")


def add_to_index(folder: Path, project: str, wheel: Path) -> None:
    """Put a wheel under `folder` as a PEP 503 index has it, to be served with `serve(folder)`."""
    page = folder / "simple" / project / "index.html"
    page.parent.mkdir(parents=True)
    wheel.rename(page.with_name(wheel.name))
    page.write_text(
        f'<!DOCTYPE html><html><body><a href="{wheel.name}">{wheel.name}</a></body></html>'
    )
