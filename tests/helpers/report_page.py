"""The page and the card of a report as its tests read them."""

import contextlib
from html.parser import HTMLParser
from pathlib import Path

import yaml

from stages.report import CARD, PAGE, write_report
from transfer.backbones.registry import BackboneParams
from transfer.classifiers.names import BASELINES, NETWORKS
from transfer.report.narrative import Prose, ReportParams, describe
from transfer.report.results import read_results
from transfer.runtime.params import load_params, read_params

HOSTILE = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror='alert(2)'>",
    "{{ 7 * 7 }} {% raw %}",
    "$x^2$ \\frac | a `code` [link](http://example.com) ![i](http://example.com/i.png)",
    "猫 🐈",
    "\u202egnp.live",
    "two\nlines\r\x00\x1b[31m",
    "x" * 200,
    "--- # *bold* _it_ &amp; </style></svg></title>",
]


class Parsed(HTMLParser):
    """What a browser would see: elements with their attributes,
    and the text outside of scripts and styles."""

    def __init__(self, page: str):
        super().__init__()
        self.elements, self.text, self._raw = [], "", 0
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self._raw += tag in ("script", "style")

    def handle_endtag(self, tag):
        self._raw -= tag in ("script", "style")

    def handle_data(self, data):
        if not self._raw:
            self.text += data

    def all(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.elements if name == tag]


def report(project: Path) -> Parsed:
    with contextlib.chdir(project):
        backbone = load_params(BackboneParams, "backbone").model_dump()
        params = read_params() | {"backbone": backbone}
        write_report(load_params(ReportParams, "report"), params)
    return Parsed((project / PAGE).read_text(encoding="utf-8"))


def sentences(project: Path, **sections: dict) -> Prose:
    """What page and card say in sentences, without drawing anything;
    `sections` changes parameters."""
    with contextlib.chdir(project):
        params = read_params()
        params |= {name: params[name] | values for name, values in sections.items()}
        return describe(read_results(), ReportParams.model_validate(params["report"]), params)


def matter(project: Path) -> dict:
    return yaml.safe_load((project / CARD).read_text(encoding="utf-8").split("---\n")[1])


WITH_BASELINES = (*NETWORKS, *BASELINES)
