"""The four nets as layer tables, with shapes and parameter counts by arithmetic; no TensorFlow.

Sources: Hewitt and Gunes 2018 (arXiv:1807.08775) for alexnet, vggnet and mobilenet, as the report's tables 2, 5 and 7
print them; Reshi et al. 2021 (doi 10.1155/2021/6621607) for xraynet, as the report's tables 8 and 13 to 17 print it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cnnstudy.config.schema import Params

Shape = tuple[int, ...]

# Images that a net answers at once, and the bytes that what one of its layers gives for so many may take: enough for
# 100 faces of the report's size, and too little for memory to grow with the square of an image's side.
AT_ONCE, LAYER_BYTES = 100, 200 << 20


@dataclass(frozen=True)
class Conv:
    """Convolution, `same` padding: filters, kernel side, stride."""

    filters: int
    kernel: int
    stride: int = 1
    bias: bool = False


@dataclass(frozen=True)
class Depthwise:
    """3x3 depthwise convolution without bias, `same` padding."""

    stride: int = 1


@dataclass(frozen=True)
class BatchNorm:
    """Batch normalisation over the last axis: gamma and beta trainable, mean and variance not."""


@dataclass(frozen=True)
class Relu:
    """Rectified linear activation."""


@dataclass(frozen=True)
class MaxPool:
    """2x2 max pooling with stride 2; `same` rounds odd sides up, `valid` down."""

    padding: str


@dataclass(frozen=True)
class Dropout:
    """Zeroes a share of the activations in training."""

    rate: float


@dataclass(frozen=True)
class GaussianDropout:
    """Multiplies by noise of mean 1 in training."""

    rate: float


@dataclass(frozen=True)
class Flatten:
    """[H, W, C] to [H * W * C]."""


@dataclass(frozen=True)
class GlobalAveragePool:
    """[H, W, C] to [C]."""


@dataclass(frozen=True)
class Dense:
    """Fully connected; `activation` as Keras names it, '' for none."""

    units: int
    bias: bool = True
    activation: str = ""


Layer = Conv | Depthwise | BatchNorm | Relu | MaxPool | Dropout | GaussianDropout | Flatten | GlobalAveragePool | Dense


@dataclass(frozen=True)
class Row:
    """A line of a layer table: Keras's layer type, output shape without the batch axis, parameters."""

    type: str
    shape: Shape
    parameters: int
    trainable: int


# Filters of the convolution blocks; alexnet has one convolution a block (with these kernels), vggnet two of 3x3.
FACE_FILTERS = (16, 32, 64, 128, 128)
ALEXNET_KERNELS = (9, 7, 5, 3, 3)
# (filters, stride) of the depthwise-separable blocks, width multiplier 1.
MOBILENET_BLOCKS = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2),
    (512, 1), (512, 1), (512, 1), (512, 1), (512, 1), (1024, 2), (1024, 1),
)  # fmt: skip
# Filters of the report (its sixth layer is not printed) and of Reshi et al.
XRAY_FILTERS = {"report": (64, 128, 256, 512, 512, 512), "reshi": (64, 64, 128, 128, 256, 256)}
# Side of the input in the report's layer tables.
REPORT_SIZE = {"alexnet": 128, "vggnet": 128, "mobilenet": 128, "xraynet": 150}


def layers_of(net: str, classes: int, depth: int | None = None, widths: str | None = None) -> tuple[Layer, ...]:
    """The layers of a net: `classes` outputs with softmax, or one with sigmoid for xraynet.

    `depth` (1 to 6 convolutions) and `widths` (`report` or `reshi`) are xraynet's.
    """
    match net:
        case "alexnet":
            return _alexnet(classes)
        case "vggnet":
            return _vggnet(classes)
        case "mobilenet":
            return _mobilenet(classes)
        case "xraynet":
            assert classes == 2
            assert depth is not None
            assert widths is not None
            return _xraynet(XRAY_FILTERS[widths][:depth])
    raise AssertionError(net)


def of_run(params: "Params", run: str, classes: int) -> tuple[Layer, ...]:
    """Return the layers of a run's net, with the recipe's dropout and the run's dropout before the last layer."""
    settings = params.runs[run]
    layers = layers_of(settings.net, classes, settings.depth, settings.widths)
    return with_dropout(with_head_dropout(layers, settings.head_dropout), params.run_recipe(run).dropout)


def with_dropout(layers: tuple[Layer, ...], factor: float) -> tuple[Layer, ...]:
    """The same layers with the rates of their dropout multiplied."""
    noise = (Dropout, GaussianDropout)
    return tuple(replace(layer, rate=layer.rate * factor) if isinstance(layer, noise) else layer for layer in layers)


def with_head_dropout(layers: tuple[Layer, ...], rate: float | None) -> tuple[Layer, ...]:
    """The same layers with a dropout layer of this rate before the last, the dense one; none for None."""
    return layers if rate is None else (*layers[:-1], Dropout(rate), layers[-1])


def head_start(layers: tuple[Layer, ...]) -> int:
    """Where the dense head begins: the number of layers before the one that takes the last map to a vector."""
    return next(i for i, layer in enumerate(layers) if isinstance(layer, Flatten | GlobalAveragePool))


def layer_table(layers: tuple[Layer, ...], size: int) -> list[Row]:
    """The table Keras's `summary` prints, for an input of size x size x 3."""
    rows: list[Row] = []
    shape: Shape = (size, size, 3)
    for layer in layers:
        row = _row(layer, shape)
        rows.append(row)
        shape = row.shape
    return rows


def images_at_once(shapes: Iterable[Shape]) -> int:
    """How many images a net answers at once, whose layers give these shapes [H, W, channels] or [units] in float32."""
    return max(1, min(AT_ONCE, LAYER_BYTES // (4 * max(map(prod, shapes)))))


def parameter_counts(layers: tuple[Layer, ...], size: int) -> tuple[int, int]:
    """(all, trainable) parameters for an input of size x size x 3."""
    rows = layer_table(layers, size)
    return sum(row.parameters for row in rows), sum(row.trainable for row in rows)


def _alexnet(classes: int) -> tuple[Layer, ...]:
    layers: list[Layer] = []
    for filters, kernel in zip(FACE_FILTERS, ALEXNET_KERNELS, strict=True):
        layers += [Conv(filters, kernel), BatchNorm(), Relu(), MaxPool("same"), GaussianDropout(0.2)]
    return (*layers, *_face_head(classes))


def _vggnet(classes: int) -> tuple[Layer, ...]:
    layers: list[Layer] = []
    for filters in FACE_FILTERS:
        layers += [Conv(filters, 3), BatchNorm(), Relu()] * 2
        layers += [MaxPool("same"), GaussianDropout(0.2)]
    return (*layers, *_face_head(classes))


def _face_head(classes: int) -> tuple[Layer, ...]:
    hidden: list[Layer] = [Dense(1024, bias=False), BatchNorm(), Relu(), Dropout(0.5)]
    return (Flatten(), *hidden, *hidden, Dense(classes, activation="softmax"))


def _mobilenet(classes: int) -> tuple[Layer, ...]:
    layers: list[Layer] = [Conv(32, 3, stride=2), BatchNorm(), Relu()]
    for filters, stride in MOBILENET_BLOCKS:
        layers += [Depthwise(stride), BatchNorm(), Relu(), Conv(filters, 1), BatchNorm(), Relu()]
    return (*layers, GlobalAveragePool(), Dense(classes, activation="softmax"))


def _xraynet(filters: tuple[int, ...]) -> tuple[Layer, ...]:
    layers: list[Layer] = []
    for width in filters:
        layers += [Conv(width, 3, bias=True), MaxPool("valid"), BatchNorm(), Relu(), Dropout(0.2)]
    head = (Dense(512), BatchNorm(), Dense(256, activation="relu"), BatchNorm(), Dense(1, activation="sigmoid"))
    return (*layers, Flatten(), *head)


def _row(layer: Layer, shape: Shape) -> Row:
    *sides, channels = shape
    match layer:
        case Conv(filters, kernel, stride, bias):
            weights = kernel * kernel * channels * filters + bias * filters
            return Row("Conv2D", (*(-(-side // stride) for side in sides), filters), weights, weights)
        case Depthwise(stride):
            weights = 9 * channels
            return Row("DepthwiseConv2D", (*(-(-side // stride) for side in sides), channels), weights, weights)
        case BatchNorm():
            return Row("BatchNormalization", shape, 4 * channels, 2 * channels)
        case MaxPool(padding):
            pooled = tuple(-(-side // 2) if padding == "same" else side // 2 for side in sides)
            return Row("MaxPooling2D", (*pooled, channels), 0, 0)
        case Flatten():
            return Row("Flatten", (prod(shape),), 0, 0)
        case GlobalAveragePool():
            return Row("GlobalAveragePooling2D", (channels,), 0, 0)
        case Dense(units, bias, _):
            weights = channels * units + bias * units
            return Row("Dense", (*sides, units), weights, weights)
        case Relu():
            return Row("Activation", shape, 0, 0)
        case Dropout() | GaussianDropout():
            return Row(type(layer).__name__, shape, 0, 0)
