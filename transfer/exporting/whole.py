"""A classifier from pixels to probabilities: resizing, preprocessing, frozen and trained layers and the temperature in one model."""

from transfer.backbone import build_preprocessing, cut_tensor
from transfer.backbones import BackboneParams
from transfer.classifier import Classifier
from transfer.exporting.resizing import ResizeAsPillow
from transfer.lean import keras


def build_whole(
    classifier: Classifier, backbone: keras.Model, params: BackboneParams, interpolation: str, temperature: float
) -> keras.Model:
    """RGB of any size, uint8 (B, h, w, 3) -> calibrated probabilities float32 (B, C)."""
    images = keras.Input((None, None, 3), dtype="uint8", name="images")
    pixels = ResizeAsPillow(params.image_size, interpolation)(images)
    logits = classifier.model(_taken(classifier.takes, pixels, backbone, params)) / temperature
    if logits.shape[-1] == 1:
        positive = keras.ops.sigmoid(logits)
        return keras.Model(images, keras.ops.concatenate([1 - positive, positive], axis=-1), name="classifier")
    return keras.Model(images, keras.ops.softmax(logits), name="classifier")


def _taken(takes: str, pixels: keras.KerasTensor, backbone: keras.Model, params: BackboneParams) -> keras.KerasTensor:
    """What a classifier takes of resized pixels (B, S, S, 3): these themselves, or what the frozen layers make of them."""
    if takes == "images":
        return pixels
    frozen = backbone.output if takes == "features" else cut_tensor(backbone, params.unfreeze_from)
    return keras.Model(backbone.input, frozen)(build_preprocessing(params)(pixels))
