"""The arithmetic of docs/scale.md, compared with small networks worked out by hand and against what
docs/performance.md says."""

import pytest

from benchmarks.scale_study.costs import count_flops, count_image, totals_table, training_flops
from transfer.compute.keras import keras


def test_operations_of_layers():
    pixels = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, padding="same")(pixels)
    x = keras.layers.MaxPooling2D()(x)
    x = keras.layers.Flatten()(x)
    model = keras.Model(pixels, keras.layers.Dense(5)(x))
    convolution, dense = 2 * 3 * 3 * 3 * 4 * 8 * 8, 2 * 4 * 4 * 4 * 5
    assert count_flops(model) == [convolution, dense]
    assert training_flops([convolution, dense]) == 2 * convolution + 3 * dense


def test_vgg16():
    image = count_image(64)
    # docs/performance.md
    assert (image.frozen + image.tail) / 1e9 == pytest.approx(2.51, abs=0.005)
    assert image.tail / 1e9 == pytest.approx(0.23, abs=0.005)
    assert 20 * image.finetune_step / 1e9 == pytest.approx(12.1, abs=0.1)
    assert (image.pixels, image.cut, image.features) == (
        64 * 64 * 3,
        4 * 4 * 512 * 4,
        2 * 2 * 512 * 4,
    )
    assert image.parameters == 3 * (3 * 3 * 512 * 512 + 512) + 2048 * 132 + 132 + 132 + 1
    totals = totals_table(image, core_gflops=100, tflops=10, source_kilobytes=100)
    assert totals.loc["list requests, a walk"].tolist() == ["1,000", "100,000", "1,000,000"]
    assert totals.loc["features and activations, GB", "100,000,000"] == "4,096"
    assert float(totals.loc["extract and augment, core-hours", "1,000,000"]) == pytest.approx(
        9 * 2.51e15 / 1e11 / 3600, rel=0.01
    )
