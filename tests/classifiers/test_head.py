"""The dense head: its parameters, its logits, and the scale of its features."""

import numpy as np

from transfer.classifiers.head import build_head


def test_the_head_with_132_units_has_the_lessons_parameters():
    head = build_head((2, 2, 512), units=132, dropout=0.5, normalize=True, n_classes=2)
    assert head.count_params() == 270_601
    assert head.output_shape == (None, 1)


def test_more_than_two_classes_get_a_logit_each():
    assert build_head(
        (2, 2, 512), units=8, dropout=0, normalize=False, n_classes=5
    ).output_shape == (None, 5)


def test_a_normalizing_head_does_not_see_the_scale_of_the_features():
    head = build_head((2, 2, 8), units=8, dropout=0, normalize=True, n_classes=2)
    features = np.random.default_rng(0).random((4, 2, 2, 8), dtype=np.float32)
    np.testing.assert_allclose(
        head.predict_on_batch(features), head.predict_on_batch(features * 300), rtol=1e-4
    )


def test_features_of_a_black_image_do_not_break_a_normalizing_head():
    head = build_head((2, 2, 8), units=8, dropout=0, normalize=True, n_classes=2)
    assert np.isfinite(head.predict_on_batch(np.zeros((1, 2, 2, 8), dtype=np.float32))).all()
