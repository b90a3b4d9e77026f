"""Tables in JSON: lists of objects, lines of them, labels by path, exports of labelling tools."""

import json
from pathlib import Path

from transfer.runtime.errors import PipelineError
from transfer.sources.table import IMAGE_NAME, Table, table_of_records


def read_json(text: str, path: Path) -> Table:
    try:
        content = json.loads(text)
        form = "JSON"
    except json.JSONDecodeError as error:
        whole = error
    except RecursionError:
        raise PipelineError(f"{str(path)!r}: JSON that is nested too deep") from None
    else:
        return _of_json(content, form, path)
    records, lines = [], []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            records.append(json.loads(line))
        except (json.JSONDecodeError, RecursionError) as error:
            problem = whole if number == 1 else error
            raise PipelineError(f"{str(path)!r}, line {number}: no JSON ({problem})") from None
        lines.append(number)
    return table_of_records(records, lines, "JSON lines", path)


def _of_json(content: object, form: str, path: Path) -> Table:
    if isinstance(content, dict) and not any(isinstance(v, list | dict) for v in content.values()):
        if {*content} & {"file_name", "image_path", "path", "image"}:  # JSON lines of one line
            return table_of_records([content], [1], "JSON lines", path)
        pairs = [{"path": name, "label": label} for name, label in content.items()]
        return table_of_records(pairs, range(1, len(pairs) + 1), "JSON, label by path", path)
    if isinstance(content, dict):  # pandas writes columns, each by row number
        columns = [value for value in content.values() if isinstance(value, dict)]
        if len(columns) == len(content) >= 2 and len({tuple(column) for column in columns}) == 1:
            records = [{name: content[name][row] for name in content} for row in columns[0]]
            return table_of_records(records, range(1, len(records) + 1), "JSON by column", path)
        raise PipelineError(
            f"{str(path)!r}: JSON with {', '.join(map(repr, [*content][:5]))}; a table of labels "
            "is a list of objects with a path and a label"
        )
    if not isinstance(content, list):
        raise PipelineError(f"{str(path)!r}: JSON, but no list of objects with path and label")
    numbers = range(1, len(content) + 1)
    if content and all(isinstance(task, dict) and "annotations" in task for task in content):
        return _label_studio_tasks(content, path)
    return table_of_records(content, numbers, form, path)


def _label_studio_tasks(tasks: list[dict], path: Path) -> Table:
    """Label Studio's JSON export: the choices of every annotation of a task that was not
    cancelled, a row for each annotation."""
    records, numbers = [], []
    for number, task in enumerate(tasks, start=1):
        data = task.get("data")
        data = data if isinstance(data, dict) else {}
        image = data.get("image") or next(
            (value for value in data.values() if isinstance(value, str) and _is_image(value)), None
        )
        annotations = [
            each
            for each in task["annotations"] or []
            if isinstance(each, dict) and not each.get("was_cancelled")
        ]
        for each in annotations or [{}]:
            chosen = [
                choice
                for result in each.get("result") or []
                if isinstance(result, dict) and isinstance(result.get("value"), dict)
                for choice in result["value"].get("choices") or []
            ]
            records.append({"image": image, "choice": chosen or None})
            numbers.append(number)
    return table_of_records(records, numbers, "Label Studio's JSON", path)


def _is_image(value: str) -> bool:
    return bool(IMAGE_NAME.search(value.split("?")[0])) or "?d=" in value
