"""The nets, one file each, and shared modules: faster layers, the graph of a net, and its layer table.

A net's file has `build(input_shape, classes, **options)`, which returns a Keras model. The model is functional or
sequential, of Keras's own layers. It has one input, pixels in [0, 1] of the shape [H, W, 3], and one output, the
classes' probabilities, from a dense layer with softmax, or, for two classes, with sigmoid and one unit.
"""

import ast
from pathlib import Path

from cnnstudy.config.schema import Params
from cnnstudy.errors import UserError
from cnnstudy.workspace import paths

# Modules of this folder that are not nets.
SHARED = {"__init__", "assemble", "graph", "head", "layers", "pretrained", "replicas", "table"}


def nets() -> list[str]:
    """Return the names of all nets, which are the names of their files."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem not in SHARED)


def options_of(net: str) -> tuple[str, ...]:
    """Return the names of a net's options, parsed from its file, since an import takes seconds."""
    tree = ast.parse(Path(__file__).with_name(f"{net}.py").read_text(encoding="utf-8"))
    build = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "build")
    return tuple(argument.arg for argument in (*build.args.args[2:], *build.args.kwonlyargs))


def check_nets(params: Params) -> None:
    """Refuse runs with a net that does not exist, or with an option that the net does not have.

    Raises:
        UserError: a net or an option is unknown; the message names the key, its value and what is allowed.
    """
    for name, run in params.all_runs.items():
        if run.net not in nets():
            raise UserError(f"{paths.PARAMS}: runs.{name}.net: {run.net!r} found; allowed: {', '.join(nets())}")
        known, options = options_of(run.net), params.options_of(name)
        for option in sorted(options.keys() - set(known)):
            key = f"runs.{name}.options.{option}"
            allowed = f"an option of {run.net}: {', '.join(known) or 'none'}"
            raise UserError(f"{paths.PARAMS}: {key}: {options[option]!r} found; allowed: {allowed}")
