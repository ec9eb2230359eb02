"""Two recipes compared: what is trained, and what is written."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cnnstudy.commands import recipes
from cnnstudy.commands.recipes import Trained
from cnnstudy.config.compose import composition
from cnnstudy.config.schema import Params, Pretrained
from cnnstudy.report import tables
from cnnstudy.workspace import paths

ROOT = Path(__file__).parents[1]
EPOCHS = 6
# Images of 200 that a net gets right with seed 0, by recipe and epochs.
RIGHT = {("report", EPOCHS): 100, ("best", EPOCHS): 180, ("best", EPOCHS // 3): 120}
THIRD = "best, a third"


@pytest.fixture
def params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf").symlink_to(ROOT / "conf")
    return composition([f"studies.faces.epochs={EPOCHS}"])


def test_a_recipe_changes_how_a_net_is_trained_and_nothing_else(params: Params) -> None:
    third = recipes.with_recipe(params, "report", 3)
    assert third.studies["faces"].training.optimizer == "adam"
    assert third.studies["faces"].training.dropout == 1
    assert third.studies["faces"].epochs == EPOCHS // 3
    assert recipes.with_recipe(params, params.recipe, 1) == params
    alexnet = params.runs["alexnet"].model_copy(
        update={"training": {"epochs": 7, "batch_size": 5, "head_dropout": 0.5}}
    )
    alone = params.model_copy(update={"runs": params.runs | {"alexnet": alexnet, "own": alexnet}})
    others = recipes.with_recipe(alone, "report", 3).runs
    assert others["alexnet"].training is None  # another recipe's are not kept
    assert others["own"].training == {"epochs": 2, "batch_size": 5, "head_dropout": 0.5}
    assert recipes.with_recipe(params, "paper", 1).run_recipe("mobilenet").head_dropout == 0.3
    assert all(getattr(third, name) == getattr(params, name) for name in ("runs", "seeds", "batchnorm"))
    for name in ("policies", "source", "split", "image_size", "classes"):
        assert getattr(third.studies["faces"], name) == getattr(params.studies["faces"], name)


def test_a_run_from_weights_in_a_file_stays_one(params: Params) -> None:
    content = params.runs["alexnet"].model_dump() | {"weights": "data/own.keras", "training": {"epochs": 9}}
    own = params.model_copy(update={"pretrained": {"own": Pretrained.model_validate(content)}})
    third = recipes.with_recipe(own, "report", 3)
    assert list(third.runs) == list(params.runs)
    assert third.pretrained["own"].weights == "data/own.keras"
    assert third.run_sizes("own").epochs == 3


def test_what_is_found_is_written_and_shown(params: Params) -> None:
    asked: list[tuple[str, int, str, int]] = []

    def train(its: Params, run: str, seed: int) -> Trained:
        epochs = its.studies["faces"].epochs
        asked.append((its.recipe, epochs, run, seed))
        curve = pd.DataFrame({"images": 1200 * np.arange(1, epochs + 1), "val": np.linspace(0, 0.6, epochs)})
        return Trained(curve, np.arange(200) < RIGHT[its.recipe, epochs] + seed, np.arange(200))

    recipes.compare(params, "faces", ["alexnet", "mobilenet"], [0, 1], train)
    epochs = EPOCHS
    ways = [("report", epochs), ("best", epochs), ("best", epochs // 3)]
    assert asked == [(*way, run, seed) for run in ("alexnet", "mobilenet") for way in ways for seed in (0, 1)]
    content = json.loads(paths.recipes("faces-synthetic").read_text())
    mobilenet = content["runs"]["mobilenet"]
    assert mobilenet["report"]["accuracies"] == [0.5, 0.505]
    assert mobilenet[THIRD]["images_seen"] == 1200 * (epochs // 3)
    assert [each["difference"] for each in mobilenet["differences"]] == [0.4, 0.1]
    assert all(each["significant"] for each in mobilenet["differences"])
    assert paths.recipes_figure("faces-synthetic").stat().st_size > 5_000
    table = tables.recipes_table(content["runs"])
    assert [row[1].text for row in table.rows] == 2 * ["report", "best", THIRD]
    assert table.rows[1][-1].note.endswith(", significant")


def test_a_net_compared_before_stays_where_it_was_trained_alike(params: Params) -> None:
    def train(its: Params, run: str, seed: int) -> Trained:
        return Trained(
            pd.DataFrame({"images": [100, 200], "val": [0.3, 0.5]}), np.arange(200) < 100 + seed, np.arange(200)
        )

    def found() -> list[str]:
        return list(json.loads(paths.recipes("faces-synthetic").read_text())["runs"])

    recipes.compare(params, "faces", ["vggnet"], [0, 1], train)
    recipes.compare(params, "faces", ["alexnet"], [0, 1], train)
    assert found() == ["alexnet", "vggnet"]
    longer = composition([f"studies.faces.epochs={EPOCHS + 1}"])
    recipes.compare(longer, "faces", ["mobilenet"], [0], train)
    assert found() == ["mobilenet"]
