"""A net as a list of steps, some of which can be run alone or replaced."""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

# The value of each symbolic tensor, by the tensor's number.
Values = dict[int, tf.Tensor]


@dataclass(frozen=True)
class Step:
    """One call of an operation, usually a layer, with its arguments and the numbers of its input and output tensors.

    `arguments` are (args, kwargs), with a `Slot` in place of each tensor. `shape` is the shape of the output.
    """

    operation: Any
    arguments: Any
    inputs: tuple[int, ...]
    output: int
    shape: tuple[int | None, ...]

    def run(self, values: Values) -> tf.Tensor:
        """Return the step's output in inference."""
        args, kwargs = self.filled(values)
        if isinstance(self.operation, keras.Layer):
            kwargs = {**kwargs, "training": False}
        return self.operation(*args, **kwargs)

    def filled(self, values: Values) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments of the call, with tensors in place of the slots."""
        args, kwargs = keras.tree.map_structure(
            lambda argument: values[argument.number] if isinstance(argument, Slot) else argument, self.arguments
        )
        return args, kwargs


@dataclass(frozen=True)
class Slot:
    """The place of a tensor in a step's arguments."""

    number: int


@dataclass(frozen=True)
class Graph:
    """The steps of a net in an order in which they can be run, and the numbers of its input and its output."""

    steps: tuple[Step, ...]
    input: int
    output: int

    def needed(self, index: int) -> set[int]:
        """Return the numbers of the tensors that the steps from `index` on need and do not compute."""
        taken = {number for step in self.steps[index:] for number in step.inputs} | {self.output}
        return taken - {step.output for step in self.steps[index:]}


def trace(model: keras.Model) -> Graph:
    """Return the graph of a functional or sequential model.

    The model is called once more on symbolic inputs, layer by layer, which changes neither its weights nor its outputs.
    """
    steps: list[Step] = []
    numbers: dict[int, int] = {}
    held: list[Any] = []  # references to all tensors, so that no id is reused

    def number(tensor: Any) -> int:
        if id(tensor) not in numbers:
            held.append(tensor)
            numbers[id(tensor)] = len(numbers)
        return numbers[id(tensor)]

    def record(operation: Any, *args: Any, **kwargs: Any) -> Any:
        output = operation(*args, **kwargs)
        tensors = [leaf for leaf in keras.tree.flatten((args, kwargs)) if isinstance(leaf, keras.KerasTensor)]
        arguments = keras.tree.map_structure(
            lambda leaf: Slot(number(leaf)) if isinstance(leaf, keras.KerasTensor) else leaf, (args, kwargs)
        )
        inputs = tuple(number(tensor) for tensor in tensors)
        steps.append(Step(operation, arguments, inputs, number(output), tuple(output.shape)))
        return output

    functional = keras.Model(model.inputs, model.outputs) if isinstance(model, keras.Sequential) else model
    copy = keras.models.clone_model(functional, clone_function=lambda operation: operation, call_function=record)
    return Graph(tuple(steps), number(copy.inputs[0]), number(copy.outputs[0]))


def run(
    steps: Sequence[Step], values: Values, wanted: Collection[int], change: Callable[[Step, Values], Any] | None = None
) -> Values:
    """Run some steps in inference, and return the values of the tensors `wanted`.

    `change` returns a replacement for the output of a step, or None. Tensors that no later step needs are freed.
    """
    known = dict(values)
    uses = Counter(number for step in steps for number in set(step.inputs))
    for step in steps:
        output = change(step, known) if change else None
        known[step.output] = step.run(known) if output is None else output
        for number in set(step.inputs):
            uses[number] -= 1
            if not uses[number] and number not in wanted:
                del known[number]
    return {number: known[number] for number in wanted}
