"""What the pages for people name exists: files, modules, links, `make` targets and parameters."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).parents[1]
PAGES = sorted([*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/*.md")])
PAGES.remove(REPOSITORY / "MODEL_CARD.md")  # written by the stage `report`
ROOTS = (
    "stages|transfer|tests|benchmarks|tools|docs|requirements|deploy|data/sample|[.]github|[.]ci"
)
# written by commands, never committed
MADE = re.compile(r"deploy/(export|classifier)\b")
PATTERN = re.compile(r"NAME|\*|\.\.\.")
PARAMS = yaml.safe_load((REPOSITORY / "params.yaml").read_text(encoding="utf-8"))

pytestmark = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def named(pattern: str, page: Path) -> Iterator[str]:
    return (match[1] for match in re.finditer(pattern, page.read_text(encoding="utf-8")))


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    headings = named(r"(?m)^#+ (.+)$", page)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_files_and_folders_exist(page):
    paths = named(rf"(?<![\w/.-])((?:{ROOTS})/[\w./*-]*[\w*])", page)
    assert [
        path
        for path in paths
        if not (PATTERN.search(path) or MADE.match(path) or (REPOSITORY / path).exists())
    ] == []


def test_modules_exist(page):
    modules = [
        *named(r"python -m ((?:stages|transfer|tests|benchmarks)[\w.]*)", page),
        *(name for name in named(r"`(transfer\.[\w.]+)`", page)),
    ]
    missing = []
    for module in modules:
        path = REPOSITORY / module.replace(".", "/")
        whole = path.is_dir() or path.with_suffix(".py").exists()
        attribute = rf"(?m)^(def|class) {path.name}\b|^{path.name}\b|import .*\b{path.name}\b"
        owner = path.parent.with_suffix(".py")
        if not whole and not (owner.exists() and re.search(attribute, owner.read_text("utf-8"))):
            missing.append(module)
    assert [name for name in missing if name != "stages.NAME"] == []


def test_commands_exist(page):
    commands = set(named(r"python -m transfer ([a-z]\w*)", page))
    known = {path.stem for path in REPOSITORY.glob("transfer/commands/*")}
    assert commands <= known


def test_options_exist(page):
    """Options of a command are in its module, in its package, or in what commands share."""
    commands = re.finditer(
        r"python -m (transfer (?P<command>\w+)|(?P<module>benchmarks[\w.]*))(?P<words>[^`'#|\n]*)",
        page.read_text(encoding="utf-8"),
    )
    missing = []
    for command in commands:
        path = REPOSITORY / (
            f"transfer/commands/{command['command']}"
            if command["command"]
            else command["module"].replace(".", "/")
        )
        files = [
            path.with_suffix(".py"),
            *path.glob("*.py"),
            REPOSITORY / "transfer/inference/cli.py",
        ]
        text = "".join(file.read_text(encoding="utf-8") for file in files if file.exists())
        options = re.findall(r"(?<!\S)\[?(--[a-z][\w-]*)", command["words"])
        missing += [each for each in options if each != "--help" and f'"{each}"' not in text]
    assert missing == []


def test_links_lead_somewhere(page):
    broken = []
    for link in named(r"\]\((?!https?:)([^)]+)\)", page):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def test_make_targets_exist(page):
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"(?m)^([\w-]+):", makefile))
    assert set(named(r"(?:^    |`)make ([a-z][\w-]*)", page)) <= targets


def test_parameters_exist(page):
    unknown = []
    for name in named(rf"`((?:{'|'.join(PARAMS)})\.\w[\w.]*)", page):
        section, *keys = name.removesuffix(".").split(".")
        value = PARAMS[section]
        for key in keys:
            value = value.get(key, unknown) if isinstance(value, dict) else unknown
        if value is unknown and not re.search(r"\.(csv|json|py|npy|md|png|tflite)$", name):
            unknown.append(name)
    assert unknown == []
