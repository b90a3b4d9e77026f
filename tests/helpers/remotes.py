"""Servers for DVC remotes on 127.0.0.1, each a real one in a process of its own, and how DVC is
told of them."""

import getpass
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncssh
import botocore.session
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

BUCKET, KEY, SECRET = "bucket", "tester", "the-secret-of-the-tester"
READER = "reader"  # who may not write; with the same secret
S3_PORTS = (
    "master.port",
    "master.port.grpc",
    "volume.port",
    "volume.port.grpc",
    "filer.port",
    "filer.port.grpc",
    "s3.port",
    "s3.port.grpc",
)


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@contextmanager
def running(words: list, log: Path, ready: Callable[[], None]) -> Iterator[subprocess.Popen]:
    """Start a server, wait until `ready()` raises no more, and kill it after the block."""
    with (
        log.open("ab") as file,
        subprocess.Popen(
            list(map(str, words)), stdout=file, stderr=file, stdin=subprocess.DEVNULL
        ) as server,
    ):
        try:
            until = time.monotonic() + 60
            while not answers(ready):
                if server.poll() is not None or time.monotonic() > until:
                    pytest.fail(
                        f"{words[0]} does not answer:\n{log.read_text(errors='replace')[-3000:]}"
                    )
                time.sleep(0.1)
            yield server
        finally:
            server.kill()


def answers(ready: Callable[[], None]) -> bool:
    try:
        ready()
    except (OSError, BotoCoreError, ClientError):
        return False
    return True


@dataclass(frozen=True)
class Remote:
    """What DVC is told of a remote, beside the name of a folder in it."""

    url: str
    settings: dict[str, object] = field(default_factory=dict)

    def set_up(self, project: Path, name: str, **settings: object) -> None:
        """Write what `dvc remote add` and `modify` with `--local` do: secrets stay out of git."""
        lines = [
            f"{key} = {value}"
            for key, value in {"url": f"{self.url}/{name}", **self.settings, **settings}.items()
        ]
        text = "\n".join(["[core]", "remote = storage", "['remote \"storage\"']", *lines, ""])
        (project / ".dvc" / "config.local").write_text(text)


class Bucket:
    """The objects of an S3 server, by their names, past DVC."""

    def __init__(self, url: str) -> None:
        access = {
            "aws_access_key_id": KEY,
            "aws_secret_access_key": SECRET,
            "region_name": "us-east-1",
        }
        config = Config(retries={"total_max_attempts": 1}, connect_timeout=1)
        self.client = botocore.session.get_session().create_client(
            "s3", endpoint_url=url, config=config, **access
        )

    def create(self) -> None:
        if BUCKET not in [bucket["Name"] for bucket in self.client.list_buckets()["Buckets"]]:
            self.client.create_bucket(Bucket=BUCKET)

    def names(self, prefix: str) -> list[str]:
        return [
            entry["Key"]
            for entry in self.client.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get(
                "Contents", []
            )
        ]

    def read(self, name: str) -> bytes:
        return self.client.get_object(Bucket=BUCKET, Key=name)["Body"].read()

    def write(self, name: str, content: bytes) -> None:
        self.client.put_object(Bucket=BUCKET, Key=name, Body=content)

    def delete(self, name: str) -> None:
        self.client.delete_object(Bucket=BUCKET, Key=name)


@dataclass(frozen=True)
class S3(Remote):
    bucket: Bucket = None
    process: subprocess.Popen = None

    @property
    def variables(self) -> dict[str, str]:
        """The environment of a person who works with this server."""
        access = {
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        return access | {"AWS_ENDPOINT_URL": self.settings["endpointurl"]}


@contextmanager
def s3_server(folder: Path, ports: list[int]) -> Iterator[S3]:
    """SeaweedFS with one user and one bucket; it keeps its files in `folder`, where it may be
    started again on the same ports."""
    access = {
        "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    reader = {
        "credentials": [{"accessKey": READER, "secretKey": SECRET}],
        "actions": ["Read", "List"],
    }
    (folder / "s3.json").write_text(
        json.dumps({"identities": [{"name": KEY, **access}, {"name": READER, **reader}]})
    )
    named = dict(zip(S3_PORTS, ports, strict=True))
    weed = Path(sys.executable).with_name("weed")
    words = [
        weed,
        f"-logdir={folder}",
        "server",
        f"-dir={folder}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        "-s3",
    ]
    words += [f"-s3.config={folder / 's3.json'}", "-s3.port.iceberg=0", "-s3.port.lance=0"]
    words += [
        "-master.electionTimeout=1s",
        "-master.volumeSizeLimitMB=64",
        "-volume.max=20",
        "-volume.preStopSeconds=0",
    ]
    words += [f"-{name}={port}" for name, port in named.items()]
    url = f"http://127.0.0.1:{named['s3.port']}"
    bucket = Bucket(url)

    def ready() -> None:
        bucket.create()
        bucket.write("ready", b"yes")

    settings = {
        "endpointurl": url,
        "region": "us-east-1",
        "access_key_id": KEY,
        "secret_access_key": SECRET,
    }
    with running(words, folder / "log", ready) as process:
        yield S3(f"s3://{BUCKET}", settings, bucket, process)


@contextmanager
def ssh_server(folder: Path) -> Iterator[Remote]:
    """OpenSSH's sshd, for the user that runs the tests and a key made for them."""
    sshd = shutil.which("sshd", path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin")
    if not sshd:
        pytest.skip("sshd is not installed (the package openssh-server)")
    if os.geteuid() == 0:
        # sshd wants it of root, and the system makes it with its own service only
        Path("/run/sshd").mkdir(exist_ok=True)
    for name in ("host", "client"):
        key = asyncssh.generate_private_key("ssh-ed25519")
        key.write_private_key(folder / name)
        key.write_public_key(folder / f"{name}.pub")
        (folder / name).chmod(0o600)
    [port] = free_ports(1)
    settings = {
        "ListenAddress": f"127.0.0.1:{port}",
        "HostKey": folder / "host",
        "AuthorizedKeysFile": folder / "client.pub",
        "StrictModes": "no",
        "UsePAM": "no",
        "PasswordAuthentication": "no",
        "PidFile": "none",
        "Subsystem": "sftp internal-sftp",
    }
    (folder / "sshd_config").write_text(
        "".join(f"{name} {value}\n" for name, value in settings.items())
    )

    def ready() -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            assert connection.recv(4) == b"SSH-"

    with running([sshd, "-D", "-e", "-f", folder / "sshd_config"], folder / "log", ready):
        keys = {"user": getpass.getuser(), "keyfile": folder / "client"}
        yield Remote(f"ssh://127.0.0.1:{port}{folder}", keys)
