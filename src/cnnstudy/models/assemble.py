"""Building of Keras models from the nets' files, with faster layers, a dtype policy and the recipe's dropout."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import keras
import numpy as np

from cnnstudy.config.schema import Option, Params
from cnnstudy.errors import UserError
from cnnstudy.models import graph, layers
from cnnstudy.models.graph import Step
from cnnstudy.workspace import paths

# A policy besides those of Keras: mixed_bfloat16 for convolutions, float32 for all other layers.
CONVOLUTIONS = "convolutions_bfloat16"
# A policy that is float32 for Keras; a GPU then multiplies in TF32 (see cnnstudy.training.precision).
TF32 = "tf32"
# Keras's layers, and faster classes with the same weights and names; and more such classes for XLA.
FASTER: dict[type, Any] = {
    keras.layers.BatchNormalization: layers.BatchNormalization,
    keras.layers.Conv2D: layers.Conv2D,
}
COMPILED: dict[type, Any] = {
    keras.layers.MaxPooling2D: layers.MaxPooling2D,
    keras.layers.DepthwiseConv2D: layers.DepthwiseConv2D,
}
DROPOUTS = (keras.layers.Dropout, keras.layers.GaussianDropout, keras.layers.SpatialDropout2D)
# Layers that take pixels, which need the precision of float32.
PREPROCESSING = (keras.layers.Rescaling, keras.layers.Normalization)

Make = Callable[[keras.Layer, dict[str, Any]], keras.Layer]


@dataclass(frozen=True)
class Design:
    """The parameters that a net is built from.

    `net` is the name of the net's file, and `side` the side of its images in pixels. `dropout` multiplies the rates of
    the net's dropout layers, and `head_dropout` is the rate of an additional one before the last layer, 0 for none.
    `key` is the parameter that sets the options. `values` is the number of values that a head of its own predicts
    beside the classes, with the activation `value_activation`; `has_classes` is False for a net of values alone.
    """

    net: str
    options: tuple[tuple[str, Option], ...]
    side: int
    classes: int
    dropout: float = 1.0
    head_dropout: float = 0.0
    key: str = "options"
    values: int = 0
    value_activation: str = "linear"
    has_classes: bool = True


# The names of the layers that predict values, and that join them to the classes' probabilities.
VALUE_HEAD, JOINED = "values", "classes_and_values"


def design_of(params: Params, run: str, classes: int, side: int | None = None) -> Design:
    """Return the design of a run's net, for images of the study's size or of another `side`."""
    recipe, size = params.run_recipe(run), side or params.study_of(run).image_size
    options = tuple(sorted(params.options_of(run).items()))
    net = params.all_runs[run].net
    noise, heads = (recipe.dropout, recipe.head_dropout), (len(params.values_of(run)), recipe.value_activation)
    has_classes = params.task_of(run).has_classes
    return Design(net, options, size, classes, *noise, f"runs.{run}.options", *heads, has_classes)


def sketch(design: Design) -> keras.Model:
    """Return the net as its file defines it, with variables that have no values, for layer tables and sizes.

    Raises:
        UserError: as `build_plain`.
    """
    return _build(design)


def build_plain(design: Design) -> keras.Model:
    """Return the net in float32, of Keras's own layers alone, so that a saved model loads without this package.

    Raises:
        UserError: an option has a value that is not allowed, or the net is of a kind that is not supported.
    """
    noise = design.dropout, design.head_dropout
    return _cloned(_build(design), noise, lambda layer, config: type(layer).from_config(config))


def build(
    design: Design, seed: int, policy: str = "float32", frozen: int | str = "none", is_compiled: bool = False
) -> keras.Model:
    """Return an uncompiled model to be trained, for float input [B, side, side, 3] in [0, 1].

    `seed` determines the initial weights and the noise of dropout. Frozen layers (see `freeze`) are not trained. For
    `policy` and `is_compiled` see `faster`.

    Raises:
        UserError: as `build_plain`, or `frozen` names no layer.
    """
    plain = _build(design)
    keras.utils.set_random_seed(seed)  # `faster` initialises the weights
    model = faster(plain, policy, (design.dropout, design.head_dropout), is_compiled)
    freeze(model, frozen)
    return model


def faster(
    model: keras.Model,
    policy: str = "float32",
    noise: tuple[float, float] = (1.0, 0.0),
    is_compiled: bool = False,
) -> keras.Model:
    """Return a copy with new weights and faster layers, under a Keras dtype policy, `CONVOLUTIONS` or `TF32`.

    Variables and outputs are float32 under every policy. `noise` is the factor of the rates of dropout layers, and the
    rate of an additional one before the last layer, 0 for none. `is_compiled` says whether XLA compiles the training
    steps.
    """
    classes = FASTER | COMPILED if is_compiled else FASTER

    def make(layer: keras.Layer, config: dict[str, Any]) -> keras.Layer:
        kind: Any = classes.get(type(layer), type(layer))
        return kind.from_config(config | {"dtype": _policy_of(layer, policy)})

    return _cloned(model, noise, make)


def freeze(model: keras.Model, frozen: int | str) -> None:
    """Freeze layers, so that neither their weights nor BatchNorm's moving statistics change in training.

    A frozen BatchNorm uses its moving statistics in training, which Keras calls inference mode; dropout stays on.
    `frozen` is a number of layers, the name of the last frozen layer, `features` for all layers before the head, or
    `none`. The layers that predict classes and values are always trained.

    Raises:
        UserError: there is no such layer.
    """
    candidates = [layer for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]
    names, last = [layer.name for layer in candidates], heads(model)
    if frozen == "none":
        count = 0
    elif frozen == "features":
        before = {step.operation.name for step in _features(model)}
        count = sum(name in before for name in names)
    elif isinstance(frozen, int) and frozen <= len(candidates) - len(last):
        count = frozen
    elif frozen in names and frozen not in last:
        count = names.index(frozen) + 1
    else:
        free = [name for name in names if name not in last]
        allowed = f"none, features, a number below {len(free) + 1}, or a layer: {', '.join(free)}"
        raise UserError(f"{paths.PARAMS}: frozen: {frozen!r} found; allowed: {allowed}")
    for layer in candidates[:count]:
        layer.trainable = False


def set_float32(model: keras.Model) -> None:
    """Make a model compute in float32 from now on, like the model that is later built to load its weights."""
    for layer in model.layers:
        layer.dtype_policy = "float32"


def class_part(model: keras.Model) -> keras.Model:
    """Return the part of a model that predicts classes: the model itself unless it predicts values as well."""
    if model.layers[-1].name != JOINED:
        return model
    probabilities, _ = model.layers[-1].input
    return keras.Model(model.inputs[0], probabilities)


def parts(model: keras.Model) -> keras.Model:
    """Return a model with an output for the classes and one for the values, or the model itself if it has only one."""
    last = model.layers[-1]
    return keras.Model(model.inputs[0], list(last.input)) if last.name == JOINED else model


def separated(outputs: np.ndarray, values: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a model's outputs [n, c + values] as class probabilities and values; one of them may be [n, 0]."""
    count = outputs.shape[1] - values
    classes = class_probabilities(outputs[:, :count]) if count else outputs[:, :0]
    return classes, outputs[:, count:]


def joined(outputs: np.ndarray, values: int) -> np.ndarray:
    """Return a model's outputs with the probability of every class, [n, classes + values]."""
    return np.hstack(separated(outputs, values)) if values else class_probabilities(outputs)


def class_probabilities(outputs: np.ndarray) -> np.ndarray:
    """Return a model's outputs as [n, classes]: a single sigmoid output p becomes [1 - p, p]."""
    return np.hstack([1 - outputs, outputs]) if outputs.shape[1] == 1 else outputs


def _build(design: Design) -> keras.Model:
    maker = import_module(f"cnnstudy.models.{design.net}").build
    try:
        # The variables get no values: only copies of the model are used, and the largest nets leave no room for both.
        with keras.StatelessScope(initialize_variables=False):
            model = maker((design.side, design.side, 3), design.classes, **dict(design.options))
    except (ValueError, TypeError) as error:
        cause = " ".join(str(error).split())[:300]
        raise UserError(f"{paths.PARAMS}: {design.key}: {cause}") from None
    if isinstance(model, keras.Sequential):
        model = keras.Model(model.inputs[0], model.outputs[0])
    if problem := _unsupported(model, design.classes):
        raise UserError(f"src/cnnstudy/models/{design.net}.py: {problem}")
    return _with_values(model, design) if design.values else model


def _with_values(model: keras.Model, design: Design) -> keras.Model:
    """Return a net with a dense layer for the values, on the vector that the classes' layer takes."""
    with keras.StatelessScope(initialize_variables=False):
        head = keras.layers.Dense(design.values, design.value_activation, name=VALUE_HEAD)
        values = head(model.layers[-1].input)
        joint = [model.outputs[0], values]
        outputs = keras.layers.Concatenate(name=JOINED)(joint) if design.has_classes else values
        return keras.Model(model.inputs[0], outputs)


def heads(model: keras.Model) -> list[str]:
    """Return the names of the dense layers that predict classes and values, and of the layer that joins them."""
    if model.layers[-1].name != JOINED:
        return [model.layers[-1].name]
    dense = [layer.name for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    return [[name for name in dense if name != VALUE_HEAD][-1], VALUE_HEAD, JOINED]


def _unsupported(model: keras.Model, classes: int) -> str:
    """Return the reason why a net is not supported, or ''."""
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        return f"{len(model.inputs)} inputs and {len(model.outputs)} outputs found; allowed: one of each"
    nested = [layer.name for layer in model.layers if isinstance(layer, keras.Model)]
    if nested:
        return f"the nested model {nested[0]} found; allowed: layers only"
    several = [layer.name for layer in model.operations if not isinstance(layer.output, keras.KerasTensor)]
    if several:
        return f"several outputs of the layer {several[0]} found; allowed: one"
    steps = graph.trace(model).steps
    norms = [step for step in steps if isinstance(step.operation, keras.layers.BatchNormalization)]
    names = [step.operation.name for step in norms]
    if twice := [name for name in names if names.count(name) > 1]:
        return f"the BatchNormalization {twice[0]} called twice found; allowed: a layer for each call"
    if other := [step.operation for step in norms if step.operation.axis not in (-1, len(step.shape) - 1)]:
        return f"the axis {other[0].axis} of the BatchNormalization {other[0].name} found; allowed: -1"
    last = model.layers[-1]
    units = {"softmax": classes} | ({"sigmoid": 1} if classes == 2 else {})
    activation = getattr(getattr(last, "activation", None), "__name__", "")
    is_dense = steps[-1].operation is last and isinstance(last, keras.layers.Dense)
    if not is_dense or model.outputs[0].shape != (None, units.get(activation)):
        allowed = " or ".join(f"Dense({count}, {name!r})" for name, count in units.items())
        return f"{_shown(steps[-1].operation)} as the last layer found; allowed: {allowed}, of a vector"
    return ""


def _shown(operation: Any) -> str:
    """Return a description of an operation: its class, with units and activation if it has any."""
    units, activation = getattr(operation, "units", None), getattr(operation, "activation", None)
    name = getattr(activation, "__name__", None)
    arguments = [str(units)] * bool(units) + [repr(name)] * bool(name)
    return f"{type(operation).__name__}({', '.join(arguments)})"


def _cloned(model: keras.Model, noise: tuple[float, float], make: Make) -> keras.Model:
    """Return a copy with new weights; `make` returns a layer for the original and its configuration."""
    dropout, head_dropout = noise
    dense = [name for name in heads(model) if name != JOINED]
    before: dict[str, keras.Layer] = {}

    def clone(operation: Any) -> Any:
        if not isinstance(operation, keras.Layer):
            return operation  # an operation that is not a layer has no weights
        config = operation.get_config()
        if isinstance(operation, DROPOUTS):
            config["rate"] *= dropout
        if operation.name in dense and head_dropout:
            name = "head_dropout" if operation.name == dense[0] else f"head_dropout_{operation.name}"
            before[operation.name] = keras.layers.Dropout(head_dropout * dropout, name=name)
        return make(operation, config)

    def call(operation: Any, *args: Any, **kwargs: Any) -> Any:
        if operation.name in before:
            args = (before[operation.name](args[0]), *args[1:])
        return operation(*args, **kwargs)

    return keras.models.clone_model(model, clone_function=clone, call_function=call)


def _policy_of(layer: keras.Layer, policy: str) -> str:
    is_last = isinstance(layer, keras.layers.Dense) and getattr(layer.activation, "__name__", "") in (
        "softmax",
        "sigmoid",
    )
    is_last |= layer.name in (VALUE_HEAD, JOINED)
    if is_last or isinstance(layer, PREPROCESSING) or policy == TF32:
        return "float32"
    if policy == CONVOLUTIONS:
        return "mixed_bfloat16" if type(layer) is keras.layers.Conv2D else "float32"
    return policy


def _features(model: keras.Model) -> tuple[Step, ...]:
    """Return the steps before the last one that turns maps into a vector, or all steps but the last if none does."""
    steps = graph.trace(model).steps
    dimensions = {step.output: len(step.shape) for step in steps}
    vectors = [
        index
        for index, step in enumerate(steps)
        if len(step.shape) == 2 and any(dimensions.get(number, 4) == 4 for number in step.inputs)
    ]
    return steps[: vectors[-1] if vectors else -1]
