"""What a module costs to import: TensorFlow, MLflow and Matplotlib only where they are used."""

import subprocess
import sys
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src"
MODULES = sorted(
    ".".join(path.relative_to(SRC).with_suffix("").parts)
    for path in SRC.rglob("*.py")
    if path.name != "__init__.py"
    and "training" not in path.parts
    and path.name not in {"build.py", "copies.py", "layers.py", "trainer.py"}
)
HEAVY = {"tensorflow", "keras", "mlflow"}
# These draw, so that whoever imports them needs Matplotlib.
DRAWING = {f"cnnstudy.evaluation.{name}" for name in ("figures", "run", "ablation", "attention")} | {
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


@pytest.mark.parametrize("module", ["cnnstudy.params", "cnnstudy.paths", "cnnstudy.cli", "cnnstudy.nets.specs"])
def test_the_lightest_modules_import_no_science_either(module: str) -> None:
    assert not {"sklearn", "pandas", "scipy", "cv2"} & imported([module])


def test_what_is_registered_imports_no_more_than_it_asks_for() -> None:
    """MLflow loads it in an environment with the packages of `promote.PACKAGES` alone."""
    own = ["cnnstudy.serving.registered", "cnnstudy.training.environment", "cnnstudy.nets.specs"]
    assert not {"cv2", "sklearn", "scipy", "dvc", "yaml", "psutil", "filelock", "matplotlib"} & imported(own)
