"""Light imports: TensorFlow, MLflow and Matplotlib are loaded only where they are used."""

import ast
import re
import subprocess
import sys
from collections import Counter
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src"
NEEDS_TENSORFLOW = {"cnnstudy/explain/gradcam.py", "cnnstudy/external/run.py", "cnnstudy/search/trainer.py"}
MODULES = sorted(
    ".".join(path.relative_to(SRC).with_suffix("").parts)
    for path in SRC.rglob("*.py")
    if path.name != "__init__.py"
    and not {"training", "models"} & set(path.parts)
    and path.relative_to(SRC).as_posix() not in NEEDS_TENSORFLOW
)
HEAVY = {"tensorflow", "keras", "mlflow", "distributed"}
# These draw, so that whoever imports them needs Matplotlib.
DRAWING = {
    "cnnstudy.plots.style",
    "cnnstudy.plots.run",
    "cnnstudy.plots.ablation",
    "cnnstudy.plots.gradcam",
    "cnnstudy.plots.values",
    "cnnstudy.evaluation.run",
    "cnnstudy.evaluation.ablation",
} | {
    "evaluate",
    "ablate",
}


def imported(modules: list[str]) -> set[str]:
    """The top-level packages that a fresh interpreter holds after importing some modules."""
    code = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, *modules], cwd=SRC, capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in done.stdout.split()}


def test_tensorflow_and_mlflow_are_imported_where_they_are_used() -> None:
    assert not HEAVY & imported(MODULES)


def test_tensorflow_comes_without_scikit_learn_which_can_be_had_later() -> None:
    code = """
import sys
from cnnstudy.training import environment
environment.configure(1)
assert "keras" in sys.modules
assert "sklearn" not in sys.modules
import sklearn.metrics
"""
    subprocess.run([sys.executable, "-c", code], cwd=SRC, check=True)


def test_a_net_for_phones_runs_without_tensorflow() -> None:
    assert not HEAVY & imported(["cnnstudy.serving.predict", "cnnstudy.export.litert", "ai_edge_litert.interpreter"])


def test_matplotlib_is_imported_where_something_is_drawn() -> None:
    assert "matplotlib" not in imported([name for name in MODULES if name not in DRAWING])


@pytest.mark.parametrize(
    "module", ["cnnstudy.config.params", "cnnstudy.workspace.paths", "cnnstudy.cli", "cnnstudy.models"]
)
def test_the_lightest_modules_import_no_science_either(module: str) -> None:
    assert not {"sklearn", "pandas", "scipy", "cv2"} & imported([module])


def test_what_is_registered_imports_no_more_than_it_asks_for() -> None:
    """MLflow loads it in an environment with the packages of `promote.PACKAGES` alone."""
    own = ["cnnstudy.serving.registered", "cnnstudy.training.environment", "cnnstudy.models"]
    assert not {"cv2", "sklearn", "scipy", "dvc", "yaml", "psutil", "filelock", "matplotlib"} & imported(own)


# From the bottom to the top; what is not named here lies between `data` and `published`.
LAYERS = ("errors", "plots", "workspace", "config", "models", "data", "", "published", "report", "commands", "cli")


def imports_of(path: Path) -> set[str]:
    """The modules of this package that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name.startswith("cnnstudy.")}


def layer(module: str) -> int:
    """Return the place of a module's folder in `LAYERS`."""
    folder = module.split(".")[1]
    return LAYERS.index(folder if folder in LAYERS else "")


PACKAGE = {".".join(path.relative_to(SRC).with_suffix("").parts): path for path in SRC.glob("cnnstudy/**/*.py")}


def test_imports_point_down() -> None:
    upwards = {f"{name} -> {other}" for name, path in PACKAGE.items() if name.count(".") and path.stem != "__init__"
               for other in imports_of(path) if layer(other) > layer(name)}  # fmt: skip
    assert not upwards


def test_the_lower_layers_import_in_no_circle() -> None:
    low = {name: path for name, path in PACKAGE.items() if name.split(".")[1] in ("workspace", "config", "commands")}
    graph = {name: imports_of(path) & low.keys() - {name} for name, path in low.items()}
    assert {*TopologicalSorter(graph).static_order()} == low.keys()


@pytest.mark.parametrize("package", ["dvc", "dvc_data"])
def test_one_module_imports_dvc(package: str) -> None:
    importing = re.compile(rf"^\s*(from|import) {package}\b", re.MULTILINE)
    found = [path.name for path in SRC.rglob("*.py") if importing.search(path.read_text(encoding="utf-8"))]
    assert found == ["dvc.py"]


# What a library names with an underscore, or keeps where its documentation says nothing of it.
PRIVATE = re.compile(
    r"\b(dvc|mlflow|keras)(\.\w+)*\.(_\w+|src)\b|\bfrom (dvc|mlflow|keras)\S* import _"
    r"|\._(jit_compile|\w*symbolic_build)\b"
)


def test_no_private_part_of_dvc_mlflow_or_keras_is_used() -> None:
    bench = SRC.parent / "bench"
    sources = {path: path.read_text(encoding="utf-8") for root in (SRC, bench) for path in root.rglob("*.py")}
    assert not {(path.name, found[0]) for path, text in sources.items() for found in PRIVATE.finditer(text)}


def test_no_class_name_stands_for_two_things() -> None:
    names = Counter(
        node.name
        for path in SRC.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert [name for name, count in names.items() if count > 1] == []
