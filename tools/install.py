"""Installs locks into the environment whose Python runs this file: with uv, or with pip where uv
cannot be had.

    .venv/bin/python tools/install.py [--no-deps] [--unhashed] LOCK...

It runs before anything is installed, so it imports Python's standard library only. uv itself is
installed by hash (tools/uv.txt). uv does not read pip's configuration, so what pip would use
(indexes, links, certificates, proxy) is handed to uv in its own variables. A wheel with another
hash than the lock's ends it at once; every other failure of uv is followed by pip, which then has
the last word.
"""

import argparse
import ast
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

UV_LOCK = Path(__file__).with_name("uv.txt")
TRUE = {"y", "yes", "t", "true", "on", "1"}  # as pip reads its switches

# Settings of pip that change neither what is installed nor where it comes from.
IRRELEVANT = {
    "break-system-packages",
    "compile",
    "config-file",
    "disable-pip-version-check",
    "exists-action",
    "log",
    "no-color",
    "no-compile",
    "no-input",
    "no-python-version-warning",
    "no-warn-conflicts",
    "no-warn-script-location",
    "prefer-binary",
    "progress-bar",
    "quiet",
    "require-virtualenv",
    "root-user-action",
    "use-feature",
    "verbose",
}
# Settings of pip that `uv_variables` and `uv_words` hand on.
TRANSLATED = {
    "cache-dir",
    "cert",
    "client-cert",
    "constraint",
    "default-timeout",
    "extra-index-url",
    "find-links",
    "index-url",
    "no-cache-dir",
    "no-index",
    "proxy",
    "retries",
    "timeout",
    "trusted-host",
}


class RefusedError(Exception):
    """uv did not install, for this reason; pip may still be able to."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("locks", nargs="+", type=Path, metavar="LOCK")
    parser.add_argument(
        "--no-deps", action="store_true", help="install what the locks name and nothing else"
    )
    parser.add_argument("--unhashed", action="store_true", help="the files name no hashes")
    options = parser.parse_args()
    words = ["--no-deps"] * options.no_deps + ["--require-hashes"] * (not options.unhashed)
    names = ", ".join(map(str, options.locks))
    started = time.monotonic()
    print(f"set-up: installing {names}", flush=True)
    try:
        program = install_with_uv(options.locks, words)
    except RefusedError as reason:
        print(f"set-up: {reason}\nset-up: so pip installs, which takes longer", flush=True)
        program = install_with_pip(options.locks, words)
    print(f"set-up: {names} installed by {program} in {time.monotonic() - started:.0f} s")


def install_with_uv(locks: Sequence[Path], words: Sequence[str]) -> str:
    """Install uv, then the locks with it; returns uv's name and version.

    Raises:
        RefusedError: uv cannot be had, cannot be given one of pip's settings, or failed.
        SystemExit: a file that was fetched has another hash than its lock.
    """
    settings = pip_settings()
    if unknown := sorted(settings.keys() - IRRELEVANT - TRANSLATED):
        raise RefusedError(
            f"pip is configured with {', '.join(unknown)}, for which uv has no equal"
        )
    got = pip(
        "install",
        "--quiet",
        "--no-deps",
        "--only-binary",
        ":all:",
        "--require-hashes",
        "--requirement",
        str(UV_LOCK),
    )
    if got.returncode:
        stop_at_another_hash(got.stderr)
        raise RefusedError(f"uv cannot be installed here: {last_error(got.stderr)}")
    environment = os.environ | uv_variables(settings, os.environ)
    command = [
        str(Path(sys.executable).with_name("uv")),
        "pip",
        "install",
        "--quiet",
        "--python",
        sys.executable,
    ]
    command += [*uv_words(settings), *requirement_words(locks)]
    constraints = constraint_words(settings)
    if constraints and "--require-hashes" in words:
        # uv takes no constraints beside that. Whether they allow what is locked is asked
        # beforehand, which fetches nothing.
        run_uv([*command, "--dry-run", "--no-deps", *constraints], environment)
        constraints = []
    run_uv([*command, "--compile-bytecode", *words, *constraints], environment)
    return run_uv([command[0], "--version"], environment).strip()


def run_uv(command: Sequence[str], environment: Mapping[str, str]) -> str:
    """What a command of uv's prints; RefusedError with its error where it fails."""
    try:
        finished = subprocess.run(  # noqa: S603, no shell
            command, env=environment, capture_output=True, text=True, check=False
        )
    except OSError as error:
        raise RefusedError(f"uv does not run here: {error}") from error
    if finished.returncode:
        stop_at_another_hash(finished.stderr)
        raise RefusedError(f"uv failed:\n{finished.stderr.strip()}")
    return finished.stdout


def install_with_pip(locks: Sequence[Path], words: Sequence[str]) -> str:
    """Install each lock with pip; returns "pip". Ends the program in a sentence where pip fails."""
    # one at a time: locks may name the same package, which pip takes for a contradiction
    for lock in locks:
        finished = pip("install", "--quiet", *words, "--requirement", str(lock))
        if finished.returncode:
            stop_at_another_hash(finished.stderr)
            sys.exit(
                f"set-up: pip could not install {lock}: {last_error(finished.stderr)}\n"
                "set-up: nothing is set up; see that the package index can be reached (pip config "
                "list), then run the command again"
            )
    return "pip"


def stop_at_another_hash(said: str) -> None:
    """End the program where uv or pip says that a file is not the one that was locked."""
    if "hash mismatch" in said.lower() or "DO NOT MATCH THE HASHES" in said:
        sys.exit(
            f"{said.strip()}\nset-up: a package is not the file that was locked, so nothing of "
            "this lock is installed; its index may have been changed or the download damaged. Run "
            "the command again; if it stays so, use another index or ask who made the lock"
        )


def pip(*words: str) -> subprocess.CompletedProcess:
    # -I: to pip, what PYTHONPATH names would be installed already
    return subprocess.run(  # noqa: S603, no shell
        [sys.executable, "-I", "-m", "pip", *words], capture_output=True, text=True, check=False
    )


def last_error(said: str) -> str:
    """The last error among what pip wrote, or its last line."""
    lines = [line for line in said.splitlines() if line.strip()] or ["it says nothing"]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR:")]
    return (errors or lines)[-1]


def pip_settings() -> dict[str, str]:
    """What is set for `pip install`, by name without dashes in front: files, then their section for
    `install`, then PIP_ variables."""
    finished = pip("config", "list")
    if finished.returncode:
        raise RefusedError(f"pip's configuration cannot be read: {last_error(finished.stderr)}")
    found: dict[str, dict[str, str]] = {"global": {}, "install": {}, ":env:": {}}
    for line in finished.stdout.splitlines():
        key, _, value = line.partition("=")
        section, _, name = key.partition(".")
        if section in found:
            found[section][name] = ast.literal_eval(value)
    merged = found["global"] | found["install"] | found[":env:"]
    return {name: value for name, value in merged.items() if value.strip()}


def uv_variables(settings: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    """pip's settings as variables that uv reads. What a person has set for uv stays; so do the
    proxies of the system.

    Args:
        settings: as `pip_settings` returns them.
        environment: the variables that there are already.
    """
    # of all indexes, as pip; the hashes say which file is meant
    variables = {"UV_INDEX_STRATEGY": "unsafe-best-match"}
    if "index-url" in settings:
        variables["UV_DEFAULT_INDEX"] = settings["index-url"]
    if "extra-index-url" in settings:
        variables["UV_INDEX"] = " ".join(settings["extra-index-url"].split())
    links = [
        link
        for link in map(os.path.expanduser, settings.get("find-links", "").split())
        if is_there(link)
    ]
    if links:
        variables["UV_FIND_LINKS"] = ",".join(links)
    if "trusted-host" in settings:
        variables["UV_INSECURE_HOST"] = " ".join(settings["trusted-host"].split())
    if timeout := settings.get("timeout", settings.get("default-timeout")):
        variables["UV_HTTP_TIMEOUT"] = str(round(float(timeout)))
    if "retries" in settings:
        variables["UV_HTTP_RETRIES"] = settings["retries"]
    if "cache-dir" in settings:
        variables["UV_CACHE_DIR"] = str(Path(settings["cache-dir"]).expanduser() / "uv")
    if settings.get("no-cache-dir", "").lower() in TRUE:
        variables["UV_NO_CACHE"] = "1"
    if "client-cert" in settings:
        variables["SSL_CLIENT_CERT"] = settings["client-cert"]
    for name in ("HTTP_PROXY", "HTTPS_PROXY") if "proxy" in settings else ():
        variables[name] = settings["proxy"]
    variables = {name: value for name, value in variables.items() if name not in environment}
    # pip's own setting goes before the variables of requests and curl,
    # which pip reads and uv does not.
    certificates = (
        settings.get("cert")
        or environment.get("REQUESTS_CA_BUNDLE")
        or environment.get("CURL_CA_BUNDLE")
    )
    if certificates:
        variables["SSL_CERT_DIR" if Path(certificates).is_dir() else "SSL_CERT_FILE"] = certificates
    return variables


def is_there(link: str) -> bool:
    """Whether a place to find wheels at is an address or exists on this disk: pip passes over a
    missing folder, uv fails."""
    parts = urlsplit(link)
    if parts.scheme == "file":
        return Path(unquote(parts.path)).exists()
    return "://" in link or Path(link).exists()


def uv_words(settings: Mapping[str, str]) -> list[str]:
    """The settings of pip for which uv has an option and no variable."""
    return ["--no-index"] if settings.get("no-index", "").lower() in TRUE else []


def constraint_words(settings: Mapping[str, str]) -> list[str]:
    return [
        word for file in settings.get("constraint", "").split() for word in ("--constraints", file)
    ]


def requirement_words(locks: Sequence[Path]) -> list[str]:
    return [word for lock in locks for word in ("--requirements", str(lock))]


if __name__ == "__main__":
    main()
