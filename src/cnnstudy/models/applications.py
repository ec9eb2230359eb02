"""Any classifier of keras.applications as a net, with its preprocessing in the graph; no weights are downloaded."""

import keras
from keras import layers

# The input range that each family of nets expects, as keras.applications documents it; families that are not listed
# rescale pixels in their own graph.
CENTRED = ("MobileNet", "MobileNetV2", "Xception", "Inception", "NASNet")
STANDARDISED = ("DenseNet",)
CAFFE = ("ResNet50", "ResNet101", "ResNet152", "VGG")
# ImageNet's means and standard deviations of pixels in [0, 1], RGB, and Caffe's means of pixels from 0 to 255, BGR.
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CAFFE_MEAN = (103.939, 116.779, 123.68)


def build(input_shape: tuple[int, int, int], classes: int, name: str = "") -> keras.Model:
    """Return the net `name`, such as ResNet50, with a softmax over the pooled features in place of its top layers.

    Raises:
        ValueError: there is no such net, or the images are too small for it.
    """
    known = sorted(attribute for attribute in dir(keras.applications) if attribute[:1].isupper())
    if name not in known:
        raise ValueError(f"name: {name!r} found; allowed: {', '.join(known)}")
    inputs = keras.Input(input_shape)
    features = getattr(keras.applications, name)(
        include_top=False, weights=None, input_tensor=_preprocessed(inputs, name)
    ).output
    x = layers.GlobalAveragePooling2D()(features)
    return keras.Model(inputs, layers.Dense(classes, "softmax")(x))


def _preprocessed(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Return pixels in [0, 1] rescaled to the input range of the net."""
    if name.startswith("EfficientNetB"):
        # The published weights expect the net's own (x / 255 - mean) / deviation to be divided by the root of the
        # deviation, which keras.applications does only for weights that it has downloaded itself.
        scales = [deviation**-0.5 for deviation in DEVIATION]
        offsets = [255 * mean * (1 - scale) for mean, scale in zip(MEAN, scales, strict=True)]
        return layers.Rescaling([255 * scale for scale in scales], offsets)(x)
    if name.startswith(("MobileNetV3", "EfficientNet", "ConvNeXt")):
        return layers.Rescaling(255.0)(x)
    if name.startswith(CENTRED) or name.endswith("V2"):
        return layers.Rescaling(2.0, -1.0)(x)
    if name.startswith(STANDARDISED):
        return layers.Normalization(mean=MEAN, variance=[deviation**2 for deviation in DEVIATION])(x)
    assert name.startswith(CAFFE), name
    bgr = layers.Concatenate()([x[..., 2:], x[..., 1:2], x[..., :1]])
    return layers.Normalization(mean=CAFFE_MEAN, variance=(1.0, 1.0, 1.0))(layers.Rescaling(255.0)(bgr))
