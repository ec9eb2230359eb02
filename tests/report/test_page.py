"""The page and the summary, from the outputs of the stages before."""

import json
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import synthetic_runs
from PIL import Image

from cnnstudy import paths
from cnnstudy.evaluation.ablation import write_ablation
from cnnstudy.evaluation.run import evaluate_run
from cnnstudy.params import Params, Plan
from cnnstudy.report import page, reference, results

RUNS = ("mobilenet", "xray-aug1", "xray-aug4")
VOID = {"meta", "img", "br"}


class Outline(HTMLParser):
    """Text, ids and targets of a page; fails on tags that do not match."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.targets: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("href", "src"):
                self.targets.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Params]:
    """Three evaluated runs; xray-aug1 answers one class for everything, and an audit found a file with an odd name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("reported"))
        params = synthetic_runs.params_with(RUNS)
        for study in params.studies:
            synthetic_runs.write_samples(params, study)
            write_audit(study, list(params.study(study).classes))
        for run in params.runs:
            synthetic_runs.write_run(params, run, stuck="recalibrated" if run == "xray-aug1" else "")
            evaluate_run(params, run)
        for name in params.ablations:
            write_ablation(params, name)
        for plan in params.plans:
            write_sheet(paths.plan_figure(plan))
        yield params


def write_audit(study: str, classes: list[str]) -> None:
    finding = {"kind": "identical files", "severity": "severe", "count": 2, "advice": "Look at <b>a&b</b>.png"}
    baselines = {"largest class": {"train": 0.5, "val": 0.5}, "linear": {"train": 0.9, "val": 0.6125}}
    content = {"images": 90, "balance": {"train": dict.fromkeys(classes, 9)}, "findings": {"as it is used": [finding]},
               "not used": [], "baselines": baselines}  # fmt: skip
    paths.audit(study).parent.mkdir(parents=True, exist_ok=True)
    paths.audit(study).write_text(json.dumps(content))
    write_sheet(paths.audit_plots(study) / "samples.png")


def write_sheet(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (1000, 1600, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, compress_level=0)


def render(params: Params) -> str:
    return page.render(params, results.read_metrics(params), reference.read(synthetic_runs.ROOT / paths.REFERENCE))


@pytest.fixture(scope="module")
def html(workspace: Params) -> str:
    return render(workspace)


@pytest.fixture(scope="module")
def outline(html: str) -> Outline:
    outline = Outline()
    outline.feed(html)
    return outline


def test_the_page_is_whole_and_stands_alone(html: str, outline: Outline) -> None:
    assert html.lstrip().startswith("<!DOCTYPE html>")
    assert not outline.open
    assert "<script" not in html
    assert "http" not in html
    inside = [target for target in outline.targets if target.startswith("#")]
    assert {target[1:] for target in inside} <= set(outline.ids)
    assert all(target.startswith("data:image/") for target in outline.targets if target not in inside)
    assert len(set(outline.ids)) == len(outline.ids)


def test_every_run_has_its_section(outline: Outline) -> None:
    assert {f"run-{run}" for run in RUNS} <= set(outline.ids)
    assert "3,237,064 parameters" in outline.text
    assert "8,246,145 parameters" in outline.text


def test_our_number_stands_beside_the_published_one(workspace: Params, html: str) -> None:
    ours = results.read_metrics(workspace)["mobilenet"]["tuned"]["val"]
    row = html.split('<th scope="row">mobilenet</th><td class="text">tuned</td>')[1].split("</tr>")[0]
    assert f"<td>{ours['accuracy']:.3f}</td>" in row
    assert f"{ours['accuracy_low']:.3f} to {ours['accuracy_high']:.3f}" in row
    assert "0.4975" in row
    assert f"{ours['accuracy'] - 0.4975:+.3f}".replace("-", "−") in row


def test_one_answer_for_everything_is_flagged(html: str, outline: Outline) -> None:
    assert "xray-aug1, base: train, train_augmented, val, test" in outline.text
    assert "xray-aug4, base: " not in outline.text
    assert html.count("one class for every image</span>") == 1
    assert '<td class="constant">0.500 ●</td>' in html


def test_numbers_the_report_contradicts_are_marked(html: str) -> None:
    row = html.split('<th scope="row">4</th><td class="text">xray-aug4</td>')[1].split("</tr>")[0]
    assert '<td class="doubtful">0.95<a href="#doubts">†</a></td>' in row


def test_published_numbers_are_left_out_where_the_classes_differ(workspace: Params, html: str) -> None:
    assert "published numbers are left out" not in html
    classes = list(workspace.faces.classes)
    write_audit("faces", classes[:-1])
    other = render(workspace)
    write_audit("faces", classes)
    assert "8 classes (anger, contempt, disgust, fear, happy, neutral, sad, surprise), this data has 7 (anger," in other
    assert "0.4975" not in other
    assert "0.4975" in html


def test_text_from_files_is_escaped(html: str, outline: Outline) -> None:
    assert "<b>a&b</b>" not in html
    assert "Look at <b>a&b</b>.png" in outline.text


def test_large_pictures_are_made_smaller(html: str) -> None:
    assert len(html) < 10_000_000  # the pictures hold 38 MB
    assert html.count("data:image/jpeg") == 2 + 6


def test_the_same_files_give_the_same_page(workspace: Params, html: str) -> None:
    assert render(workspace) == html


def test_only_runs_of_params_are_shown(workspace: Params) -> None:
    shutil.copy(paths.run_metrics("mobilenet"), paths.run_metrics("vggnet"))
    fewer = workspace.model_copy(update={"runs": {"xray-aug4": workspace.runs["xray-aug4"]}, "ablations": {}})
    html = render(fewer)
    assert 'id="run-xray-aug4"' in html
    assert "run-vggnet" not in html
    assert "run-mobilenet" not in html
    assert 'id="ablations"' not in html


def test_the_summary_holds_a_headline_or_two_a_run(workspace: Params) -> None:
    metrics = results.read_metrics(workspace)
    assert results.summary(workspace, metrics) == {
        "mobilenet": {
            "val_accuracy": metrics["mobilenet"]["base"]["val"]["accuracy"],
            "tuned_val_accuracy": metrics["mobilenet"]["tuned"]["val"]["accuracy"],
        },
        "xray-aug1": {"test_accuracy": 0.5},
        "xray-aug4": {"test_accuracy": metrics["xray-aug4"]["base"]["test"]["accuracy"]},
    }


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (Plan(study="xray", level=0, rotation=0, shift=0.0, flip=False), "the originals"),
        (
            Plan(study="xray", level=2, rotation=0, shift=0.0, flip=False),
            "the originals; exact copies rotated by 90°, rotated by 180°",
        ),
        (
            Plan(study="faces", level=0, rotation=20, shift=0.1, flip=True),
            "the originals; anew in every epoch: rotation up to 20°, shift up to 10 % of the side, flip left to right",
        ),
    ],
)
def test_a_policy_in_words(plan: Plan, words: str) -> None:
    assert page.policy(plan) == words
