"""Tables in JSON: lists of objects, lines of them, labels by path, exports of labelling tools."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from transfer.labels.folder_words import name_splits
from transfer.labels.table import Table, lines_of, table_of_records
from transfer.runtime.errors import PipelineError
from transfer.sources.source_file import IMAGE_NAME

_ML_USE = "aiplatform.googleapis.com/ml_use"


def read_json(text: str, path: Path) -> Table:
    """The table of JSON or of lines of it.

    Raises:
        PipelineError: it is no JSON, or none of the forms of a table; or it has boxes.
    """
    try:
        return _of_json(json.loads(text), path)
    except ValueError as error:  # a number of thousands of digits, too
        whole = error
    except RecursionError:
        raise PipelineError(f"{str(path)!r}: JSON that is nested too deep") from None
    records, lines = [], []
    for number, line in enumerate(lines_of(text), start=1):
        if not line.strip():
            continue
        try:
            records.append(json.loads(line))
        except (ValueError, RecursionError) as error:
            problem = whole if number == 1 else error
            raise PipelineError(f"{str(path)!r}, line {number}: no JSON ({problem})") from None
        lines.append(number)
    if not all(isinstance(record, dict) for record in records):
        return table_of_records(records, "JSON lines", path, lines)
    forms = {_form_of(record) for record in records}
    form = forms.pop() if len(forms) == 1 else "JSON lines"
    return table_of_records(map(_plain_record, records), form, path, lines)


def _form_of(record: dict) -> str:
    if "imageGcsUri" in record:
        return "Vertex AI's JSON lines"
    return "SageMaker's manifest" if "source-ref" in record else "JSON lines"


def _plain_record(record: dict) -> dict:
    """A record of Vertex AI's import file or SageMaker's manifest as path, label and split; any
    other as it is."""
    if "imageGcsUri" in record:
        found = record.get("classificationAnnotation") or record.get("classificationAnnotations")
        found = found if isinstance(found, list) else [found]
        names = [each.get("displayName") for each in found if isinstance(each, dict)]
        resource = record.get("dataItemResourceLabels")
        use = resource.get(_ML_USE) if isinstance(resource, dict) else None
        return {"path": record["imageGcsUri"], "label": names or None, "ml_use": use}
    if "source-ref" in record:
        names = [
            value["class-name"]
            for key, value in record.items()
            if key.endswith("-metadata") and isinstance(value, dict) and "class-name" in value
        ]
        return {"path": record["source-ref"], "label": names or None}
    return record


def _of_json(content: object, path: Path) -> Table:
    if isinstance(content, dict) and not any(isinstance(v, list | dict) for v in content.values()):
        if {*content} & {"file_name", "image_path", "path", "image"}:  # JSON lines of one line
            return table_of_records([content], "JSON lines", path)
        return table_of_records(map(_of_pair, content.items()), "JSON, label by path", path)
    if isinstance(content, dict):
        if isinstance(content.get("images"), list) and content.get("annotations"):
            return _of_coco(content, path)
        if isinstance(content.get("items"), list) and isinstance(content.get("categories"), dict):
            return _of_datumaro(content["items"], content["categories"], path)
        if _is_via(content):
            return _of_via(content, path)
        if found := _records_inside(content):
            return table_of_records(*found, path)
        # pandas writes columns, each by row number
        columns = [value for value in content.values() if isinstance(value, dict)]
        if len(columns) == len(content) >= 2 and len({tuple(column) for column in columns}) == 1:
            records = [{name: content[name][row] for name in content} for row in columns[0]]
            return table_of_records(records, "JSON by column", path)
        raise PipelineError(
            f"{str(path)!r}: JSON with {', '.join(map(repr, [*content][:5]))}; a table of labels "
            "is a list of objects with a path and a label"
        )
    if not isinstance(content, list):
        raise PipelineError(f"{str(path)!r}: JSON, but no list of objects with path and label")
    if content and all(map(_is_pair, content)):
        return table_of_records(map(_of_pair, content), "JSON, pairs", path)
    if content and all(isinstance(task, dict) and "annotations" in task for task in content):
        return _label_studio_tasks(content, path)
    return table_of_records(content, "JSON", path)


def _records_inside(content: Mapping) -> tuple[list[dict], str] | None:
    """Records and their form, of an object by path, of lists of paths by label, or
    of the one list of objects in it; None where it is none of these."""
    values = [*content.values()]
    lists = [value for value in values if isinstance(value, list)]
    splits = name_splits(content)
    if len(splits) == len(lists) == len(content) > 1 and all(
        isinstance(each, dict) for value in lists for each in value
    ):
        records = [each | {"split": name} for name, found in content.items() for each in found]
        form = "JSON, lists of objects by split"
    elif isinstance(content.get("labels"), dict) and isinstance(content.get("classes"), list):
        pairs = map(_of_pair, content["labels"].items())
        records, form = [_named(each, content["classes"]) for each in pairs], "FiftyOne's JSON"
    elif all(isinstance(value, dict) for value in values) and all(map(_is_image, content)):
        records, form = [{"path": name} | each for name, each in content.items()], "JSON by path"
    elif (
        len(lists) == len(values)
        and all(isinstance(each, str) for value in lists for each in value)
        and any(lists)
    ):
        records = [
            {"path": each, "label": name} for name, found in content.items() for each in found
        ]
        form = "JSON, lists of paths by label"
    elif len(lists) == 1 and lists[0] and all(map(_is_pair, lists[0])):  # StyleGAN's labels
        records, form = [*map(_of_pair, lists[0])], "JSON, pairs"
    elif len(found := [value for value in lists if value and isinstance(value[0], dict)]) == 1:
        names = [value for value in lists if value and isinstance(value[0], str)]
        records = [_named(each, names[0] if len(names) == 1 else []) for each in found[0]]
        form = "JSON"
    else:
        return None
    return records, form


def _is_pair(value: object) -> bool:
    """Whether it is a path and a label."""
    return (
        isinstance(value, list)
        and len(value) == 2
        and isinstance(value[0], str)
        and isinstance(value[1], str | int)
    )


def _of_pair(value: Sequence) -> dict:
    return {"path": value[0], "label": value[1]}


def _named(record: object, names: list) -> object:
    """A record with the name of its label's number, if the list of names beside has it."""
    label = record.get("label") if isinstance(record, dict) else None
    if isinstance(label, bool) or not isinstance(label, int) or not 0 <= label < len(names):
        return record
    return record | {"label": names[label]}


def _is_via(content: Mapping) -> bool:
    """Whether it is VGG Image Annotator's: images by names of their own."""
    return bool(content) and all(
        isinstance(each, dict) and {"filename", "file_attributes"} <= {*each}
        for each in content.values()
    )


def _of_via(content: Mapping, path: Path) -> Table:
    """The attributes of whole files, of VGG Image Annotator.

    Raises:
        PipelineError: there are regions, and no attribute of a file.
    """
    records = [
        {"filename": each["filename"], "file_attributes": each["file_attributes"] or None}
        for each in content.values()
    ]
    if not any(each["file_attributes"] for each in records):
        raise PipelineError(
            f"{str(path)!r} has no attributes of files, as regions of objects alone have none; "
            "here each image has one class: give the files an attribute, or cut the objects out"
        )
    return table_of_records(records, "VGG Image Annotator's JSON", path)


def _of_coco(content: dict, path: Path) -> Table:
    """COCO's form with one category for each image, as iNaturalist has it.

    Raises:
        PipelineError: the annotations have boxes or outlines.
    """
    annotations = content["annotations"]
    annotations = annotations if isinstance(annotations, list) else []
    annotations = [each for each in annotations if isinstance(each, dict)]
    if any(each.get("bbox") or each.get("segmentation") for each in annotations):
        raise PipelineError(
            f"{str(path)!r} has boxes or outlines of objects, as data for detection has; here each "
            "image has one class: cut the objects out into folders of their classes, or give a "
            "table with one label for each image"
        )
    categories = content.get("categories")
    names = {
        str(each.get("id")): each.get("name")
        for each in (categories if isinstance(categories, list) else [])
        if isinstance(each, dict)
    }
    files = {
        str(each.get("id")): each.get("file_name")
        for each in content["images"]
        if isinstance(each, dict)
    }
    records = []
    for each in annotations:
        category = str(each.get("category_id"))
        image = files.get(str(each.get("image_id")))
        records.append({"file_name": image, "label": names.get(category, category)})
    return table_of_records(records, "JSON in COCO's form", path)


def _of_datumaro(items: list, categories: dict, path: Path) -> Table:
    """The labels of Datumaro's items, as CVAT and Geti export them; boxes and outlines have none
    here."""
    labels = categories.get("label")
    names = [
        each.get("name")
        for each in _listed(labels.get("labels") if isinstance(labels, dict) else 0)
    ]
    records = []
    for item in items:
        if not isinstance(item, dict):
            raise PipelineError(f"{str(path)!r}: the item {str(item)[:60]!r} is no object")
        found = [
            names[number]
            for each in _listed(item.get("annotations"))
            if isinstance(each, dict) and each.get("type") == "label"
            if isinstance(number := each.get("label_id"), int) and 0 <= number < len(names)
        ]
        image = item.get("image")
        place = image.get("path") if isinstance(image, dict) else None
        records.append({"path": place or item.get("id"), "label": found or None})
    return table_of_records(records, "Datumaro's JSON", path)


def _label_studio_tasks(tasks: list[dict], path: Path) -> Table:
    """Label Studio's JSON export: the choices of every annotation of a task that was not
    cancelled, a row for each annotation."""
    records, numbers, boxed = [], [], False
    for number, task in enumerate(tasks, start=1):
        data = task.get("data")
        data = data if isinstance(data, dict) else {}
        image = data.get("image") or next(
            (value for value in data.values() if isinstance(value, str) and _is_image(value)), None
        )
        annotations = [
            each
            for each in _listed(task["annotations"])
            if isinstance(each, dict) and not each.get("was_cancelled")
        ]
        for each in annotations or [{}]:
            chosen = [
                choice
                for result in _listed(each.get("result"))
                if isinstance(result, dict) and isinstance(result.get("value"), dict)
                for choice in _listed(result["value"].get("choices"))
            ]
            boxed = boxed or any(map(_has_box, _listed(each.get("result"))))
            records.append({"image": image, "choice": chosen or None})
            numbers.append(number)
    if boxed and not any(record["choice"] for record in records):
        raise PipelineError(
            f"{str(path)!r} has boxes or outlines of objects and no choices; here each image has "
            "one class: label the images with choices, or cut the objects out"
        )
    return table_of_records(records, "Label Studio's JSON", path, numbers)


def _listed(value: object) -> list:
    """The value if it is a list; empty if it is something else, a count say."""
    return value if isinstance(value, list) else []


def _has_box(result: object) -> bool:
    value = result.get("value") if isinstance(result, dict) else None
    return isinstance(value, dict) and bool({"x", "points", "rle"} & {*value})


def _is_image(value: str) -> bool:
    return bool(IMAGE_NAME.search(value.split("?")[0])) or "?d=" in value
