"""The report as one self-contained HTML page; the same results give the same bytes.

What users name (files, classes) is hostile text: Jinja escapes it, and the page's own
Content-Security-Policy keeps anything that slipped through from running or from reaching a network.
"""

import base64
import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from transfer.augmentation.sheet import shown_rows
from transfer.dataset.manifest import split_rows
from transfer.report.charts import (
    accuracy_chart,
    feature_map,
    learning_curves,
    precision_recall_chart,
    reliability_chart,
    roc_chart,
)
from transfer.report.formatting import visible
from transfer.report.narrative import Prose, mistakes_summary, sheet_says
from transfer.report.results import ModelResults, Results
from transfer.report.tables import (
    MOST_CLASSES_IN_MATRIX,
    MOST_NAMED_COLUMNS,
    audit_counts,
    class_counts,
    class_scores,
    comparison_table,
    confusion,
    issue_table,
    metric_table,
    model_table,
    parameter_tables,
    rejected_table,
)
from transfer.runtime.checksums import file_checksum
from transfer.runtime.errors import PipelineError
from transfer.runtime.files import atomic_write

TEMPLATES = Path(__file__).parent / "templates"
PAGE, STYLE, SCRIPT = "report.html.j2", "report.css", "report.js"
# bytes of the mistakes' pictures on a page; mails with more than a few MB are refused
PICTURE_BYTES = 1_200_000
SECTIONS = {
    "summary": "What can be claimed",
    "data": "The data",
    "models": "The models",
    "errors": "Right and wrong",
    "mistakes": "The mistakes",
    "audit": "The audit",
    "augmentation": "Augmentation",
    "parameters": "The parameters",
    "files": "The files",
}
PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Mistake:
    """A misclassified image of the scored split;
    picture: a data URI of the image and its Grad-CAM."""

    model: str
    path: str
    actual: str
    predicted: str
    probability: float
    picture: str


@dataclass(frozen=True)
class File:
    """What identifies a file: its size, SHA-256, and the MD5 that DVC uses."""

    path: str
    what: str
    bytes: int
    sha256: str
    md5: str


def write_page(
    path: Path,
    results: Results,
    prose: Prose,
    params: dict[str, dict],
    sheet: Path,
    files: Sequence[File],
) -> None:
    """Write the page; `sheet` is the picture of augmented views,
    `params` params.yaml by section."""
    models, mistakes = results.models, read_mistakes(results.models)
    train = split_rows(results.manifest, "train")["path"]
    content = {
        "prose": prose,
        "split": results.split,
        "sections": SECTIONS,
        "model_table": model_table(results),
        "accuracy_chart": accuracy_chart(results),
        "metric_table": metric_table(models),
        "comparison_table": comparison_table(results.comparison),
        "class_counts": class_counts(results.manifest),
        "rejected": rejected_table(results.rejected),
        "learning_curves": learning_curves(models),
        "by_class": [
            {"name": model.name, "confusion": confusion(model), "scores": class_scores(model)}
            for model in models
        ],
        "curves": [roc_chart(models), precision_recall_chart(models), reliability_chart(models)],
        "few_classes": len(models[0].class_names) <= MOST_NAMED_COLUMNS,
        "few_rows": lambda table: len(table.rows) <= MOST_CLASSES_IN_MATRIX + 1,
        "mistakes": mistakes,
        "mistakes_summary": mistakes_summary(models, len(mistakes)),
        "mistake_models": list(dict.fromkeys(one.model for one in mistakes)),
        "mistake_classes": sorted(
            {name for one in mistakes for name in (one.actual, one.predicted)}
        ),
        "audit_counts": audit_counts(results.audit),
        "feature_map": feature_map(results.feature_map),
        "issues": issue_table(results.issues),
        "sheet": data_uri(_read_png(sheet, "augment")),
        "sheet_says": sheet_says([train[row] for row in shown_rows(len(train))], params),
        "parameters": parameter_tables(params),
        "files": files,
    }
    text = render(content)
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def render(content: dict[str, object]) -> str:
    """The page's text: the template with style and script put in, and a policy that lets that
    script run and nothing else."""
    environment = templates(lambda value: visible(value) if type(value) is str else value)
    environment.filters["breakable"] = breakable
    style, script = (
        Markup((TEMPLATES / name).read_text(encoding="utf-8"))  # noqa: S704, files of ours
        for name in (STYLE, SCRIPT)
    )
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        environment.get_template(PAGE).render(
            **content, style=style, script=script, script_hash=f"sha256-{digest}", svg=Markup
        )
        + "\n"
    )


def templates(finalize: Callable[[object], object]) -> Environment:
    """The report's templates: what they insert is escaped for HTML, unless it is Markup.

    Args:
        finalize: what is done to each value first.
    """
    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def breakable(text: str) -> Markup:
    """Escaped text that may be broken after a slash, a dot, a dash or an underscore, but not within
    a number."""
    place = r"([/_-]|(?<!\d)\.|\.(?!\d))"
    return Markup(re.sub(place, r"\1<wbr>", str(escape(visible(text)))))  # noqa: S704, escaped here


def fingerprint(path: Path, what: str) -> File:
    """Hash a file.

    Raises:
        PipelineError: it is missing.
    """
    try:
        sha256, md5 = file_checksum(path), file_checksum(path, "md5")
    except FileNotFoundError:
        raise PipelineError(f"{path} is missing; run `dvc repro` or `dvc pull`") from None
    return File(path.as_posix(), what, path.stat().st_size, sha256, md5)


def read_mistakes(models: Sequence[ModelResults]) -> list[Mistake]:
    """The mistakes with their pictures, every model's surest first, until their pictures have
    PICTURE_BYTES; model by model.

    Raises:
        PipelineError: a picture is missing or is none.
    """
    chosen, room = [], PICTURE_BYTES
    for place, model, row in _in_turn(models):
        picture = _read_picture(model.pictures, row.file)
        room -= len(picture)
        if room < 0:
            break
        mistake = Mistake(
            model.name, row.path, row.actual, row.predicted, row.probability, data_uri(picture)
        )
        chosen.append((place, mistake))
    return [mistake for _, mistake in sorted(chosen, key=lambda pair: pair[0])]


def _in_turn(models: Sequence[ModelResults]) -> Iterator[tuple]:
    """(place of the model, model, row): every model's first mistake,
    then every model's second, ..."""
    for rows in zip_longest(*(model.mistakes.itertuples() for model in models)):
        for place, (model, row) in enumerate(zip(models, rows, strict=True)):
            if row is not None:
                yield place, model, row


def _read_picture(folder: Path, name: str) -> bytes:
    file = folder / f"{name.removesuffix('.png')}.png"
    if file.parent != folder:
        raise PipelineError(
            f"{folder}.csv is damaged: {name!r} is no name of a file in {folder}; delete it and "
            "run `dvc repro evaluate`"
        )
    return _read_png(file, "evaluate")


def _read_png(file: Path, stage: str) -> bytes:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise PipelineError(
            f"{file} cannot be read ({error.strerror}); run `dvc repro {stage}` or `dvc pull`"
        ) from None
    if not content.startswith(PNG):
        raise PipelineError(
            f"{file} is damaged: it is no PNG; delete it and run `dvc repro {stage}`"
        )
    return content


def data_uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()
