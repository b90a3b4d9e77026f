"""The names of ImageNet's classes are those of Keras, and classes of one name are kept apart."""

import hashlib
import inspect
import io
import json
import re

import numpy as np
from keras.src.applications import imagenet_utils

from tests.helpers.labels import BY_ID
from transfer.imagenet.classes import read_classes
from transfer.imagenet.columns import LabelColumns
from transfer.inference.output_formats import WIDTH, table_writer
from transfer.inference.predictions import Prediction, PredictionRow


def test_the_names_are_to_the_byte_those_that_keras_would_fetch():
    table = {
        str(index): [known.wordnet_id, known.name.replace(" ", "_")]
        for index, known in enumerate(read_classes())
    }
    listed = re.search(r'file_hash="(\w+)"', inspect.getsource(imagenet_utils.decode_predictions))[
        1
    ]
    assert hashlib.md5(json.dumps(table).encode()).hexdigest() == listed


def test_every_class_has_an_id_of_its_own_and_two_names_stand_for_two():
    classes = read_classes()
    assert len({known.wordnet_id for known in classes}) == len(classes) == 1000
    assert (classes[0].name, classes[999].name) == ("tench", "toilet tissue")
    names = [known.name for known in classes]
    assert {name for name in names if names.count(name) > 1} == {"crane", "maillot"}


def test_classes_of_one_name_are_kept_apart_by_id_in_every_format():
    chances = np.zeros(1000)
    chances[[BY_ID["n03126707"], BY_ID["n02012849"], 0]] = 0.6, 0.3, 0.1
    sheet, row = LabelColumns(read_classes(), 3), PredictionRow("x.png", Prediction(chances))
    told = [("crane", "n03126707", 0.6), ("crane", "n02012849", 0.3), ("tench", "n01440764", 0.1)]
    assert sheet.values(row) == ["x.png", *(value for each in told for value in each), None]
    file = io.StringIO()
    table_writer(file, sheet)(row)
    _, *lines = file.getvalue().splitlines()
    assert [line.split() for line in lines] == [
        ["x.png", *in_line(told[0])],
        in_line(told[1]),
        in_line(told[2]),
    ]
    assert len({line.index(each[1]) for line, each in zip(lines, told, strict=True)}) == 1, (
        "columns are aligned"
    )
    assert max(map(len, lines)) <= WIDTH
    assert (
        len(max((known.name for known in read_classes()), key=len)) + 2
        == sheet.header.index("probability") - 2
    )


def in_line(told: tuple[str, str, float]) -> list[str]:
    name, wordnet_id, probability = told
    return [name, f"{probability:.3f}", wordnet_id]
