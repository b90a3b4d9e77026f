"""CVAT's XML with tags of images as a table."""

import html
import re
from pathlib import Path

from transfer.labels.table import Table, table_of_records
from transfer.runtime.errors import PipelineError

_TAG = re.compile(r"<tag\s[^<>]*?\blabel=(?P<quote>['\"])(?P<label>[^<>]*?)(?P=quote)")
_NAME = re.compile(r"\bname=(?P<quote>['\"])(?P<name>[^<>]*?)(?P=quote)")
_SHAPE = re.compile(r"<(box|polygon|polyline|points|cuboid|mask|ellipse|skeleton)\b")


def read_cvat(text: str, path: Path) -> Table:
    """The name and the tags of each image of CVAT's XML.

    Raises:
        PipelineError: it has boxes or outlines and no tags, or is no such XML.
    """
    records, boxed = [], False
    for image in re.split(r"<image(?=\s)", text)[1:]:
        attributes, _, rest = image.partition(">")
        name = _NAME.search(attributes)
        content = "" if attributes.endswith("/") else rest.partition("</image>")[0]
        boxed = boxed or bool(_SHAPE.search(content))
        labels = [html.unescape(tag["label"]) for tag in _TAG.finditer(content)]
        if name:
            records.append({"name": html.unescape(name["name"]), "label": labels or None})
    if boxed and not any(record["label"] for record in records):
        raise PipelineError(
            f"{str(path)!r} has boxes or outlines of objects and no tags of images; here each "
            "image has one class: tag the images, or cut the objects out"
        )
    if not records:
        raise PipelineError(
            f"{str(path)!r} is XML, and not CVAT's with images and their tags; give a CSV, TSV, "
            "JSON, JSON lines or Parquet file"
        )
    return table_of_records(records, "CVAT's XML", path)
