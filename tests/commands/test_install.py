"""Set-up: tools/install.py and the Makefile's environments, from indexes on 127.0.0.1 that hold one
small package."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

from tests.helpers import http_servers
from tests.helpers.tiny_sources import REPOSITORY
from tests.helpers.wheels import build_wheel, lock_for

pytestmark = pytest.mark.usefixtures("loopback_alone")

INSTALL = REPOSITORY / "tools/install.py"
specification = importlib.util.spec_from_file_location("install", INSTALL)
install = importlib.util.module_from_spec(specification)
specification.loader.exec_module(install)


@pytest.fixture(scope="module")
def bare(tmp_path_factory) -> Path:
    """An environment with pip alone."""
    folder = tmp_path_factory.mktemp("bare") / "environment"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    return folder


@pytest.fixture
def environment(bare, tmp_path) -> Path:
    """A copy of it that the test may change."""
    return Path(shutil.copytree(bare, tmp_path / "environment", symlinks=True))


@pytest.fixture
def with_uv(environment) -> Path:
    """The same with uv, as this environment has it."""
    try:
        uv = distribution("uv")
    except PackageNotFoundError:
        pytest.skip("uv is not installed in the tests' environment")
    for file in uv.files:
        place = (
            packages(environment) / file
            if ".." not in file.parts
            else environment / "bin" / file.name
        )
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file.locate(), place)
    return environment


def packages(environment: Path) -> Path:
    return next(environment.glob("lib/python*/site-packages"))


def installed(environment: Path) -> bool:
    return (packages(environment) / "thing").exists() or any(packages(environment).glob("thing-*"))


def run_install(environment: Path, *words: object, **variables: str) -> subprocess.CompletedProcess:
    command = [str(environment / "bin/python"), str(INSTALL), *map(str, words)]
    return subprocess.run(
        command, env=os.environ | variables, capture_output=True, text=True, check=False
    )


def test_uv_installs_what_the_lock_names_with_its_bytecode(with_uv, tmp_path):
    wheel = build_wheel(tmp_path)
    lock = lock_for(wheel, tmp_path)
    http_servers.add_to_index(tmp_path / "index", "thing", wheel)
    with http_servers.serve(tmp_path / "index") as index:
        finished = run_install(with_uv, lock, PIP_INDEX_URL=f"{index.url}/simple")
    assert finished.returncode == 0, finished.stderr
    assert re.search(r"lock\.txt installed by uv \d+\.\d+\.\d+ .*in \d+ s", finished.stdout)
    assert (packages(with_uv) / "thing/__init__.py").exists()
    assert list((packages(with_uv) / "thing/__pycache__").glob("__init__.*.pyc"))


def test_without_uv_pip_installs_and_prints_why(environment, tmp_path):
    """Also what another folder of PYTHONPATH has already."""
    wheel = build_wheel(tmp_path)
    shutil.unpack_archive(wheel, tmp_path / "elsewhere", "zip")
    lock = lock_for(wheel, tmp_path)
    http_servers.add_to_index(tmp_path / "index", "thing", wheel)
    with http_servers.serve(tmp_path / "index") as index:
        finished = run_install(
            environment,
            lock,
            PIP_INDEX_URL=f"{index.url}/simple",
            PYTHONPATH=str(tmp_path / "elsewhere"),
        )
    assert finished.returncode == 0, finished.stderr
    assert (
        "set-up: uv cannot be installed here: No matching distribution found for uv=="
        in finished.stdout
    )
    assert "set-up: so pip installs, which takes longer" in finished.stdout
    assert "lock.txt installed by pip in" in finished.stdout
    assert (packages(environment) / "thing/__init__.py").exists()


def test_pips_own_configuration_holds_for_uv(with_uv, tmp_path, monkeypatch):
    """The index of a file of settings; places that are missing are passed over, as pip does."""
    wheel = build_wheel(tmp_path)
    lock = lock_for(wheel, tmp_path)
    http_servers.add_to_index(tmp_path / "index", "thing", wheel)
    settings = tmp_path / "pip.conf"
    monkeypatch.delenv("PIP_INDEX_URL")
    with http_servers.serve(tmp_path / "index") as index:
        lines = [
            f"index-url = {index.url}/simple",
            f"extra-index-url = file://{tmp_path}/nothing",
            f"find-links = {tmp_path}/nowhere",
        ]
        settings.write_text(
            "\n".join(
                ["[global]", "index-url = http://127.0.0.1:1/simple", "[install]", *lines, ""]
            )
        )
        finished = run_install(with_uv, lock, PIP_CONFIG_FILE=str(settings))
    assert finished.returncode == 0, finished.stderr
    assert "installed by uv" in finished.stdout


def test_wheels_from_a_folder_and_no_index(with_uv, tmp_path):
    wheel = build_wheel(tmp_path)
    finished = run_install(
        with_uv,
        lock_for(wheel, tmp_path),
        PIP_NO_INDEX="1",
        PIP_FIND_LINKS=f"{tmp_path} {tmp_path}/nowhere",
    )
    assert finished.returncode == 0, finished.stderr
    assert "installed by uv" in finished.stdout


@pytest.mark.parametrize("tool", ["with_uv", "environment"])
def test_a_wheel_with_another_hash_ends_set_up_and_leaves_nothing(tool, request, tmp_path):
    environment = request.getfixturevalue(tool)
    lock = lock_for(build_wheel(tmp_path), tmp_path)
    http_servers.add_to_index(tmp_path / "index", "thing", build_wheel(tmp_path, marker="another"))
    with http_servers.serve(tmp_path / "index") as index:
        finished = run_install(environment, lock, PIP_INDEX_URL=f"{index.url}/simple")
    assert finished.returncode == 1
    assert (
        "set-up: a package is not the file that was locked, so nothing of this lock is installed"
        in finished.stderr
    )
    assert "Traceback" not in finished.stderr
    assert "so pip installs" not in finished.stdout or tool == "environment"
    assert not installed(environment)


def test_a_uv_with_another_hash_is_not_run(environment, tmp_path):
    version = re.search(r"^uv==([\d.]+)", install.UV_LOCK.read_text(), flags=re.MULTILINE)[1]
    http_servers.add_to_index(
        tmp_path / "index", "uv", build_wheel(tmp_path, f"uv-{version}-py3-none-any.whl")
    )
    wheel = build_wheel(tmp_path)
    lock = lock_for(wheel, tmp_path)
    http_servers.add_to_index(tmp_path / "index", "thing", wheel)
    with http_servers.serve(tmp_path / "index") as index:
        finished = run_install(environment, lock, PIP_INDEX_URL=f"{index.url}/simple")
    assert finished.returncode == 1
    assert "set-up: a package is not the file that was locked" in finished.stderr
    assert not installed(environment)


PIP_TOO = pytest.mark.parametrize(
    "tool", ["with_uv", pytest.param("environment", marks=pytest.mark.slow)]
)


@PIP_TOO
def test_without_a_network_one_sentence_says_what_to_look_at(tool, request, tmp_path):
    environment = request.getfixturevalue(tool)
    finished = run_install(environment, lock_for(build_wheel(tmp_path), tmp_path))
    assert finished.returncode == 1
    assert re.search(
        r"set-up: pip could not install .*lock\.txt: "
        r"No matching distribution found for thing==1\.0",
        finished.stderr,
    )
    assert (
        "see that the package index can be reached (pip config list), then run the command again"
        in finished.stderr
    )
    assert "Traceback" not in finished.stderr
    assert not installed(environment)


def constrained(folder: Path, constraint: str) -> dict[str, str]:
    """A user's environment: wheels from this folder alone, within a constraint."""
    (folder / "constraints.txt").write_text(f"{constraint}\nother<=3\n")
    return {
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(folder),
        "PIP_CONSTRAINT": str(folder / "constraints.txt"),
    }


@PIP_TOO
def test_a_constraint_of_the_user_that_forbids_the_lock_is_an_error(tool, request, tmp_path):
    environment = request.getfixturevalue(tool)
    wheel = build_wheel(tmp_path)
    words = constrained(tmp_path, "thing<1.0")
    finished = run_install(environment, lock_for(wheel, tmp_path), **words)
    assert finished.returncode == 1
    assert "thing" in finished.stderr and "Traceback" not in finished.stderr
    assert not installed(environment)


def test_a_constraint_that_allows_what_is_locked_changes_nothing(with_uv, tmp_path):
    wheel = build_wheel(tmp_path)
    words = constrained(tmp_path, "thing<2.0")
    finished = run_install(with_uv, lock_for(wheel, tmp_path), **words)
    assert finished.returncode == 0, finished.stderr
    assert "installed by uv" in finished.stdout


def test_a_setting_that_uv_has_no_equal_for_is_left_to_pip(with_uv, tmp_path):
    wheel = build_wheel(tmp_path)
    words = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path), "PIP_ONLY_BINARY": ":all:"}
    finished = run_install(with_uv, lock_for(wheel, tmp_path), **words)
    assert finished.returncode == 0, finished.stderr
    assert (
        "set-up: pip is configured with only-binary, for which uv has no equal" in finished.stdout
    )
    assert "installed by pip" in finished.stdout


@pytest.mark.parametrize(
    ("settings", "there", "variables"),
    [
        ({}, {}, {}),
        ({"index-url": "https://a/simple"}, {}, {"UV_DEFAULT_INDEX": "https://a/simple"}),
        (
            {"extra-index-url": "https://a\n  file:///b c"},
            {},
            {"UV_INDEX": "https://a file:///b c"},
        ),
        (
            {"find-links": "/nowhere file:///nowhere https://a/links"},
            {},
            {"UV_FIND_LINKS": "https://a/links"},
        ),
        ({"find-links": "/nowhere"}, {}, {}),
        ({"trusted-host": "a b:8080"}, {}, {"UV_INSECURE_HOST": "a b:8080"}),
        ({"default-timeout": "15.5", "timeout": "20"}, {}, {"UV_HTTP_TIMEOUT": "20"}),
        ({"default-timeout": "15.0"}, {}, {"UV_HTTP_TIMEOUT": "15"}),
        ({"retries": "9"}, {}, {"UV_HTTP_RETRIES": "9"}),
        ({"cache-dir": "/big"}, {}, {"UV_CACHE_DIR": "/big/uv"}),
        ({"no-cache-dir": "1"}, {}, {"UV_NO_CACHE": "1"}),
        ({"no-cache-dir": "0"}, {}, {}),
        (
            {"cert": "/a.pem"},
            {"SSL_CERT_FILE": "/b.pem", "REQUESTS_CA_BUNDLE": "/c.pem"},
            {"SSL_CERT_FILE": "/a.pem"},
        ),
        ({"cert": "/"}, {}, {"SSL_CERT_DIR": "/"}),
        (
            {},
            {"REQUESTS_CA_BUNDLE": "/c.pem", "CURL_CA_BUNDLE": "/d.pem"},
            {"SSL_CERT_FILE": "/c.pem"},
        ),
        ({}, {"CURL_CA_BUNDLE": "/d.pem"}, {"SSL_CERT_FILE": "/d.pem"}),
        ({"client-cert": "/a.pem"}, {}, {"SSL_CLIENT_CERT": "/a.pem"}),
        ({"proxy": "http://p:1"}, {}, {"HTTP_PROXY": "http://p:1", "HTTPS_PROXY": "http://p:1"}),
        ({"index-url": "https://a"}, {"UV_DEFAULT_INDEX": "https://mine"}, {}),
    ],
)
def test_settings_of_pip_become_variables_of_uv(settings, there, variables):
    assert (
        install.uv_variables(settings, there)
        == {"UV_INDEX_STRATEGY": "unsafe-best-match"} | variables
    )


def test_no_setting_is_both_handed_on_and_irrelevant():
    assert not install.TRANSLATED & install.IRRELEVANT
