"""The network from scratch: its layers, and that it sees what `augment` sees."""

import numpy as np
import pytest

from tests.helpers.augmentation import augment_params
from transfer.augmentation import views
from transfer.augmentation.views import AugmentedView, AugmentedViews
from transfer.augmentation.warp import render_view
from transfer.classifiers.description import save_skipped
from transfer.classifiers.names import description_file, history_file, is_skipped, weights_file
from transfer.classifiers.saved import load_classifier
from transfer.classifiers.scratch import build_small_network
from transfer.runtime.errors import PipelineError
from transfer.runtime.files import write_bytes

AUGMENT = augment_params(views=4, seed=3)


def test_it_has_the_layers_and_parameters_of_its_source():
    network = build_small_network(64, 64, 0.5, 2)
    assert [layer.name for layer in network.layers if layer.weights] == [
        "conv1",
        "conv2",
        "conv3",
        "hidden",
        "logits",
    ]
    convolutions = 3 * 3 * 3 * 32 + 32, 3 * 3 * 32 * 32 + 32, 3 * 3 * 32 * 64 + 64
    # 64 pixels come to 62, 31, 29, 14, 12, 6
    assert network.count_params() == sum(convolutions) + 6 * 6 * 64 * 64 + 64 + 64 + 1
    # the source has 150 pixels
    assert build_small_network(150, 64, 0.5, 2).count_params() == 1_212_513


@pytest.mark.parametrize(("n_classes", "n_logits", "n_layers"), [(2, 1, 12), (5, 5, 12)])
def test_two_classes_have_one_logit(n_classes, n_logits, n_layers):
    network = build_small_network(32, 8, 0.5, n_classes)
    assert network.output_shape == (None, n_logits)
    assert len(network.layers) == n_layers
    # no dropout, no layer of it
    assert len(build_small_network(32, 8, 0, n_classes).layers) == n_layers - 1


def test_images_that_are_too_small_end_in_a_sentence():
    assert build_small_network(22, 8, 0, 2).get_layer("pool3").output.shape == (None, 1, 1, 64)
    with pytest.raises(PipelineError, match=r"image_size = 21: .* 22 pixels .*train_scratch\.skip"):
        build_small_network(21, 8, 0, 2)


def test_the_first_convolution_gets_pixels_divided_by_255():
    network = build_small_network(32, 8, 0, 2)
    assert (
        np.asarray(network.get_layer("rescale")(np.full((1, 32, 32, 3), 255.0))).tolist()
        == np.ones((1, 32, 32, 3)).tolist()
    )


def test_a_view_is_what_augment_draws_of_each_image():
    images = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
    drawn = AugmentedView(images, 2, AUGMENT)[np.array([4, 1])]
    assert drawn.dtype == np.float32
    assert np.array_equal(
        drawn, [render_view(images[4], 2, AUGMENT), render_view(images[1], 2, AUGMENT)]
    )


@pytest.mark.parametrize(
    ("keep", "limit", "renders"), [(True, 2**20, 6), (False, 2**20, 9), (True, 1, 9)]
)
def test_rendered_views_are_kept_if_they_fit_and_come_again(monkeypatch, keep, limit, renders):
    """Rows of view 0, rows of view 2, and twice rows of view 0 again."""
    images = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
    monkeypatch.setattr(views, "KEPT_BYTES", limit)
    rendered = []

    def counted(image, view, params):
        rendered.append(view)
        return render_view(image, view, params)

    found = AugmentedViews(images, AUGMENT, keep=keep)
    monkeypatch.setattr(views, "render_view", counted)
    for view, rows in ((0, [4, 1]), (2, [4, 1, 0]), (0, [0, 4]), (0, [1, 4])):
        expected = [render_view(images[row], view, AUGMENT) for row in rows]
        assert np.array_equal(found[view][np.array(rows)], expected)
    assert len(rendered) == renders


def test_a_skipped_model_is_no_model_but_says_why(project):
    save_skipped("scratch", "train_scratch.skip is true")
    assert is_skipped("scratch")
    assert history_file("scratch").read_text() == "epoch,loss,accuracy,val_loss,val_accuracy\n"
    with pytest.raises(
        PipelineError, match="scratch/model.json: it was skipped, so there is no such model"
    ):
        load_classifier("scratch")


@pytest.mark.parametrize("content", [None, "{", "[]", "1", '{"model": {}}'])
def test_what_is_missing_or_damaged_is_not_taken_for_skipped(content, project):
    write_bytes(weights_file("scratch"), b"")
    if content is not None:
        description_file("scratch").write_text(content)
    assert not is_skipped("scratch")
    with pytest.raises(PipelineError):
        load_classifier("scratch")
