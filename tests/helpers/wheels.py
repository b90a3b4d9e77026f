"""One small package's wheel and the lock that names it."""

import zipfile
from hashlib import sha256
from pathlib import Path

WHEEL = "thing-1.0-py3-none-any.whl"


def build_wheel(folder: Path, name: str = WHEEL, marker: str = "right") -> Path:
    package, version = name.split("-")[:2]
    info = f"{package}-{version}.dist-info"
    files = {
        f"{package}/__init__.py": f"MARKER = {marker!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\n"
        "Tag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(folder / name, "w") as archive:
        for path, content in files.items():
            archive.writestr(path, content)
    return folder / name


def lock_for(wheel: Path, folder: Path) -> Path:
    package, version = wheel.name.split("-")[:2]
    lock = folder / "lock.txt"
    lock.write_text(
        f"{package}=={version} \\\n    --hash=sha256:{sha256(wheel.read_bytes()).hexdigest()}\n"
    )
    return lock
