"""Opens the address that the demo listens on and serves the page there."""

import errno
import ipaddress
import os
import socket
from collections.abc import Sequence

import psutil
from flask import Flask
from waitress import create_server

from transfer.runtime.errors import PipelineError

_THREADS = 4  # one image is predicted at a time, while other threads serve the page
_CONNECTIONS = 32  # each may hold an image of the largest size that is allowed
# overhead of a body that is sent in chunks; the application counts only the image
_FRAMING = 2**16
_ANSWER = 64 * 2**20  # bytes, far above any answer: a larger answer would be written to a file


def listen(host: str, port: int) -> socket.socket:
    """Open a socket that listens on this host and port; port 0 is any free one.

    Raises:
        PipelineError: no such host, or the port is taken or not allowed.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except (socket.gaierror, UnicodeError) as error:
        raise PipelineError(f"--host {host}: no such address ({error})") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PipelineError(
                f"port {port} of {host} is in use; choose another with --port, or any that is free "
                "with --port 0"
            ) from None
        raise PipelineError(
            f"cannot listen on port {port} of {host}: {os.strerror(error.errno)}; choose another "
            "with --port"
        ) from None


def is_loopback(listening: socket.socket) -> bool:
    """Whether only this machine can reach it."""
    return ipaddress.ip_address(listening.getsockname()[0]).is_loopback


def url(host: str, listening: socket.socket) -> str:
    """The address to open in a browser on this machine; a host name replaces an IPv6 address,
    because `trusted_hosts` has none."""
    address, port = listening.getsockname()[:2]
    parsed = ipaddress.ip_address(address)
    if parsed.is_unspecified or (parsed.version == 6 and parsed.is_loopback):
        host = "localhost"
    return f"http://{socket.gethostname() if ':' in host else host}:{port}/"


def trusted_hosts(
    host: str, listening: socket.socket, further_names: Sequence[str] = ()
) -> list[str]:
    """The names and IPv4 addresses by which browsers may call the server, of any port, as Flask's
    TRUSTED_HOSTS takes them.

    Other names are refused, because their owners could let them point here (DNS rebinding). If
    other machines can reach the server, this machine's name and addresses are included. Flask
    compares no IPv6 addresses.
    """
    names = {"localhost", "127.0.0.1", host, *further_names}
    if not is_loopback(listening):
        addresses = (each for found in psutil.net_if_addrs().values() for each in found)
        names |= {each.address for each in addresses if each.family == socket.AF_INET}
        names.add(socket.gethostname())
    return sorted(name.lower() for name in names if ":" not in name)


def serve(app: Flask, listening: socket.socket, most_bytes: int) -> None:
    """Serve until Ctrl-C. Requests and answers stay in memory: no upload reaches the disk."""
    create_server(
        app,
        sockets=[listening],
        threads=_THREADS,
        connection_limit=_CONNECTIONS,
        max_request_body_size=most_bytes + _FRAMING,  # a larger body is refused before it is read
        inbuf_overflow=most_bytes + _FRAMING,
        outbuf_overflow=_ANSWER,
        ident=None,
    ).run()
