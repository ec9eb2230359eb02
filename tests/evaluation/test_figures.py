"""Figures show all of their text: nothing is cut off."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from cnnstudy.plots import ablation, gradcam, run
from cnnstudy.plots.style import Title

LONG = ("mal-no-finding", "covid-19-pneumonia")
MANY = ("anger", "contempt", "disgust-and-more", "fear", "happy", "neutral", "sad", "surprise")
STUCK = Title("xray-depth1, base, train_augmented, 3 seeds added up", "one class for every image in 2 of 3 seeds")
PLAIN = Title("xray-depth1, base, test")


def counts(classes: tuple[str, ...]) -> pd.DataFrame:
    return pd.DataFrame(np.full((len(classes), len(classes)), 123), classes, classes)


def confusion(classes: tuple[str, ...], title: Title) -> None:
    run.draw_confusion(counts(classes), title, Path("none.png"))


def examples(classes: tuple[str, ...], title: Title) -> None:
    ids = np.zeros((len(classes), len(classes)), int)
    run.draw_examples(np.zeros((1, 8, 8, 3), np.uint8), ids, counts(classes), title, Path("none.png"))


def roc(classes: tuple[str, ...], title: Title) -> None:
    names = classes if len(classes) > 2 else classes[1:]
    run.draw_roc(dict.fromkeys(names, (np.array([[0.0, 0.0], [0.2, 0.7], [1.0, 1.0]]), 0.75)), title, Path("none.png"))


def looks(classes: tuple[str, ...], title: Title) -> None:
    arrays = {
        f"{kind}/{name}": np.zeros(4, int) for kind in ("correct", "mistakes") for name in ("id", "label", "predicted")
    }
    arrays |= {f"{kind}/probability": np.ones(4) for kind in ("correct", "mistakes")}
    arrays |= {f"{kind}/map": np.zeros((4, 8, 8), np.uint8) for kind in ("correct", "mistakes")}
    images = np.zeros((1, 8, 8, 3), np.uint8)
    gradcam.draw_correct(images, classes, arrays, title.text, Path("none.png"))
    gradcam.draw_mistakes(images, classes, arrays, title.text, Path("none.png"))


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Return the figure as it would be saved."""
    found: list[Figure] = []
    for module in (ablation, gradcam, run):
        monkeypatch.setattr(module, "save", lambda figure, *_, **__: found.append(figure))
    return found


def texts(figure: Figure) -> list[Text]:
    FigureCanvasAgg(figure).draw()
    shown = [text for text in figure.findobj(Text) if isinstance(text, Text) and text.get_visible()]
    return [text for text in shown if text.get_text().strip()]


@pytest.mark.parametrize("draw", [confusion, examples, roc, looks])
@pytest.mark.parametrize("classes", [("normal", "covid"), LONG, MANY])
@pytest.mark.parametrize("title", [PLAIN, STUCK])
def test_titles_and_names_are_not_cut_off(
    drawn: list[Figure], draw: Callable[..., None], classes: tuple[str, ...], title: Title
) -> None:
    draw(classes, title)
    assert drawn
    for figure in drawn:
        FigureCanvasAgg(figure).draw()
        box, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
        assert min(box.x0, box.y0, width - box.x1, height - box.y1) > -0.01


def test_captions_of_mistakes_do_not_overlap(drawn: list[Figure]) -> None:
    looks(LONG, PLAIN)
    captions = sorted(
        (text.get_window_extent() for text in texts(drawn[1]) if "→" in text.get_text()), key=lambda b: b.x0
    )
    assert len(captions) == 4
    assert all(left.x1 <= right.x0 for left, right in pairwise(captions))


def test_a_loss_that_runs_away_does_not_flatten_the_others(drawn: list[Figure]) -> None:
    history = pd.DataFrame(
        {"epoch": [1, 2], "accuracy": 0.5, "val_accuracy": 0.5, "loss": [2.0, 1.0], "val_loss": [494.0, 72.0]}
    )
    run.draw_curves([history], "vggnet, base", Path("none.png"))
    loss = drawn[0].axes[1]
    assert loss.get_ylim() == (0, 4)
    assert [text.get_text() for text in loss.texts] == ["val up to 494"]
    run.draw_curves([history.assign(val_loss=3.0)], "vggnet, base", Path("none.png"))
    assert drawn[1].axes[1].get_ylim()[1] < 4
    assert not drawn[1].axes[1].texts


def test_ticks_of_small_differences_do_not_run_into_each_other(drawn: list[Figure]) -> None:
    row = {"first": "alexnet, tuned", "second": "alexnet", "difference": -0.0075, "low": -0.0275, "high": 0.0125}
    ablation.draw_differences(pd.DataFrame([row | {"significant": False}]), "t", Path("none.png"))
    drawn[0].canvas.draw()
    boxes = [label.get_window_extent() for label in drawn[0].axes[0].get_xticklabels() if label.get_text()]
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))


def rows(name: str, x: float | str, place: int) -> list[dict[str, Any]]:
    """A run's two phases in the table of an ablation."""
    row = {"run": name, "x": x, "net": "mobilenet", "train_accuracy": 0.6, "constant": False, "constant_moving": False}
    row |= dict.fromkeys(("val_accuracy", "val_accuracy_low", "val_accuracy_high", "val_accuracy_moving"), 0.5)
    return [row | {"phase": "base", "at": place - 0.13}, row | {"phase": "tuned", "at": place + 0.13}]


@pytest.mark.parametrize(
    ("positions", "lines"),
    [(("adam", "muon"), {"val, base, 95 % interval"}), ((0.001, 0.1), {"base, train", "tuned, train"}), ((5,), set())],
)
def test_runs_stand_side_by_side_under_their_positions(
    drawn: list[Figure], positions: tuple[Any, ...], lines: set[str]
) -> None:
    table = pd.DataFrame([row for i, x in enumerate(positions) for row in rows(f"run{i}", x, i)])
    facts = {"axis": "rate", "split": "val", "batchnorm": "recalibrated", "chance": 0.125, "title": "t"}
    ablation.draw_ablation(table, facts, Path("none.png"))
    axes = drawn[0].axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == [str(x) for x in positions]
    assert axes.get_xticks().tolist() == list(range(len(positions)))
    assert lines <= set(axes.get_legend_handles_labels()[1])
