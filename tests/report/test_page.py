"""The page and the summary, from the outputs of the stages before."""

import json
import re
import shutil
from html.parser import HTMLParser
from typing import Any

import pytest
from reported import RUNS, render, write_audit, write_sheet

from cnnstudy.config.schema import Params, Policy
from cnnstudy.evaluation import results
from cnnstudy.published.reference import Published
from cnnstudy.report import page, tables
from cnnstudy.resampling.results import settings_md5
from cnnstudy.workspace import paths

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
def outline(html: str) -> Outline:
    outline = Outline()
    outline.feed(html)
    return outline


def test_the_page_is_whole_and_stands_alone(html: str, outline: Outline) -> None:
    assert html.lstrip().startswith("<!DOCTYPE html>")
    assert not outline.open
    assert html.count("<script") == html.count("<script>") == 1
    assert "http" not in html
    inside = [target for target in outline.targets if target.startswith("#")]
    assert {target[1:] for target in inside} <= set(outline.ids)
    assert all(target.startswith("data:image/") for target in outline.targets if target not in inside)
    assert len(set(outline.ids)) == len(outline.ids)


def test_what_is_severe_in_the_data_is_said_first(html: str) -> None:
    summary = html.split('<section id="summary">')[1].split("</section>")[0]
    for study in ("faces", "xray"):
        words = "identical files, 2 images. Look at &lt;b&gt;a&amp;b&lt;/b&gt;.png"
        line = f'<p class="note severe">{study}, severe: {words}</p>'
        assert line in summary.split('class="lead"')[0]


def test_every_run_has_its_section(outline: Outline) -> None:
    assert {f"run-{run}" for run in RUNS} <= set(outline.ids)
    assert "3,237,064 parameters" in outline.text
    assert "8,246,145 parameters" in outline.text


def test_our_number_stands_beside_the_published_one(workspace: Params, html: str) -> None:
    ours = results.read_metrics(workspace)["mobilenet"]["tuned"]["val"]
    section = html.split("beside the course report and Hewitt &amp; Gunes</caption>")[1]
    row = section.split('<th scope="row">mobilenet, tuned</th>')[1].split("</tr>")[0]
    assert f">{ours['accuracy']:.3f}<small>" in row
    assert f"{ours['accuracy_low']:.3f} to {ours['accuracy_high']:.3f}" in row
    assert "0.4975" in row
    assert f"{ours['accuracy'] - 0.4975:+.3f}".replace("-", "−") in row


def test_one_answer_for_everything_is_flagged(html: str, outline: Outline) -> None:
    assert "xray-aug1, base: train, train_augmented, val, test" in outline.text
    assert "xray-aug4, base: " not in outline.text
    assert html.count("one class for every image</span>") == 1
    assert '<td class="constant" data-label="accuracy">0.500 ●</td>' in html


def test_of_several_seeds_it_is_said_how_many_answered_one_class() -> None:
    split = {"constant": True, "constant_seeds": 1, "accuracy_seeds": [0.5, 0.8]}
    assert tables.constant_answers({"xray-aug0": {"base": {"test": split}}}) == ["xray-aug0, base: test (1 of 2 seeds)"]


def test_a_published_number_inside_our_interval_is_marked() -> None:
    ours = {"accuracy": 0.5, "accuracy_low": 0.45, "accuracy_high": 0.55}
    cells = [tables._difference(ours, Published(value, "3")) for value in (0.46, 0.44)]
    assert [(cell.text, cell.mark) for cell in cells] == [("+0.040", "inside"), ("+0.060", "")]


def test_numbers_the_report_contradicts_are_marked(html: str) -> None:
    row = html.split('<th scope="row">4<small>xray-aug4</small></th>')[1].split("</tr>")[0]
    assert '<td class="doubtful" data-label="report">0.95<a href="#doubts">†</a>' in row


def test_published_numbers_are_left_out_where_the_classes_differ(workspace: Params, html: str) -> None:
    assert "published numbers are left out" not in html
    classes = list(workspace.studies["faces"].classes)
    write_audit("faces", classes[:-1])
    other = render(workspace)
    write_audit("faces", classes)
    assert "8 classes (anger, contempt, disgust, fear, happy, neutral, sad, surprise), this data has 7 (anger," in other
    assert "0.4975" not in other
    assert "0.4975" in html


def without_papers(params: Params, *studies: str) -> Params:
    rest = {name: params.studies[name].model_copy(update={"paper": None}) for name in studies}
    return params.model_copy(update={"studies": params.studies | rest})


def test_studies_without_a_paper_have_a_page_without_comparison(workspace: Params, html: str) -> None:
    alone = render(without_papers(workspace, "faces", "xray"))
    for words in ("Hewitt", "Reshi", "the report", 'id="claims"', 'id="doubts"', 'id="contents"', "†", "row for row"):
        assert words in html
        assert words not in alone
    outline = Outline()
    outline.feed(alone)
    assert not outline.open
    assert {target[1:] for target in outline.targets if target.startswith("#")} <= set(outline.ids)
    assert {f"run-{run}" for run in RUNS} | {"ablation-nets", "exported", "data-faces"} <= set(outline.ids)
    ours = results.read_metrics(workspace)["mobilenet"]["tuned"]["test"]["accuracy"]
    assert f">{ours:.3f}</td>" in alone.split('<th scope="row">mobilenet, tuned</th>')[1].split("</tr>")[0]


def test_a_study_without_a_paper_stands_beside_one_that_has_one(workspace: Params, html: str) -> None:
    mixed = render(without_papers(workspace, "faces"))
    for words in ("Hewitt", "0.4975", "VGGNet does better than AlexNet.", '<th scope="row">figure 7</th>'):
        assert words in html
        assert words not in mixed
    assert '<td class="doubtful" data-label="report">0.95<a href="#doubts">†</a>' in mixed
    assert "Augmentation takes accuracy from 0.50 to 0.95." in mixed


def test_every_number_of_a_classification_report_stands_beside_the_reports(workspace: Params, html: str) -> None:
    section = html.split('<div id="alexnet-base-report">')[1].split("</div>\n</div>")[0]
    ours = results.read_report("alexnet", "base", "val")
    rows = section.split("val, table 3")[1].split("<tr>")
    sad = next(row for row in rows if row.startswith('<th scope="row">sad</th>'))
    cells = [cell.split(">", 1)[1] for cell in sad.split("<td")[1:]]
    for cell, (column, printed) in zip(
        cells, (("precision", 0.28), ("recall", 0.74), ("f1-score", 0.40)), strict=False
    ):
        value = ours.loc["sad", column]
        gap = f"{value - printed:+.2f}".replace("-", "−")
        assert cell.startswith(f"{value:.3f}<small>report {printed:.2f}, {gap}</small>")
    assert cells[-1].startswith("4<small>report 200</small>")


def test_specificity_and_the_reports_coding_are_named(html: str) -> None:
    section = html.split('<div id="xray-aug1-base-report">')[1].split('<details id="run-')[0]
    assert "covid (report: 1)" in section
    assert '<th scope="row">specificity</th>' in section
    assert "train_augmented, table 9" in section


def test_a_log_stands_beside_our_loss(workspace: Params, html: str) -> None:
    ours = results.read_metrics(workspace)["mobilenet"]["tuned"]["val"]["loss"]
    section = html.split('<div id="mobilenet-tuned-report">')[1].split("</table>")[0]
    assert f'data-label="loss">{ours:.3f}<small>report 2.49, ' in section


def test_every_item_of_the_report_has_its_place(html: str, outline: Outline) -> None:
    section = html.split('<section id="contents">')[1].split("</section>")[0]
    for item in ("table 1", "figure 1", "figure 7", "table 9", "figure 16", "figure 22"):
        assert f'<th scope="row">{item}</th>' in section
    row = next(row for row in section.split("<tr>") if '<th scope="row">figure 7</th>' in row)
    assert '<a href="#alexnet-tuned-roc">' in row
    assert "alexnet-tuned-roc" in outline.ids
    missing = next(row for row in section.split("<tr>") if '<th scope="row">table 5</th>' in row)
    assert "not part of this experiment" in missing


def test_layer_tables_say_which_of_the_reports_they_are(html: str) -> None:
    assert "row for row as in table 8 and 17 of the course report" in html
    assert "row for row as in table 7 of the course report" in html
    assert "not as in" not in html


def test_the_page_says_how_to_reproduce_it(html: str) -> None:
    assert "samples.csv <code>faces md5</code>" in html
    assert "tensorflow 2." in html
    section = html.split('<section id="reproduce">')[1]
    assert section.count("<code>") >= 4
    assert "dvc exp run --temp -S model=all -S &#39;seeds=[0,1]&#39;\nmake ui" in section


def test_the_cards_say_what_it_is_not_for(outline: Outline) -> None:
    assert "Not for clinical use. No decision about people." in outline.text
    assert "Generated by this project" in outline.text


def test_text_from_files_is_escaped(html: str, outline: Outline) -> None:
    assert "<b>a&b</b>" not in html
    assert "Look at <b>a&b</b>.png" in outline.text


def test_large_pictures_are_made_smaller(html: str) -> None:
    assert len(html) < 12_000_000  # the images hold 38 MB
    assert html.count("data:image/webp") >= 2 + 6


def test_exported_nets_stand_beside_the_papers_size_and_time(html: str) -> None:
    section = html.split('<section id="exported">')[1].split("</section>")[0]
    assert "one thread of A processor" in section
    rows = {run: section.split(f'<th scope="row">{run}</th>')[1].split("</tr>")[0] for run in ("alexnet", "mobilenet")}
    assert 'data-label="int8">3.48 MB<small>accuracy 0.743, 1.25\u00a0ms</small>' in rows["mobilenet"]
    assert 'data-label="published">Hewitt &amp; Gunes: at most 15 MB, 22.4 ms on a phone</td>' in rows["mobilenet"]
    assert 'data-label="float32">12.80 MB<small>accuracy 0.750, –\u00a0ms</small>' in rows["alexnet"]
    mobilenet = section.split('<th scope="row">mobilenet, int8</th>')[1].split("</tr>")[0]
    assert [cell.split(">")[1].split("<")[0] for cell in mobilenet.split("<td")[1:]] == [
        "−0.007",
        "0.980",
        "0.050",
        "1.50",
    ]


def test_the_first_screen_holds_three_numbers_with_intervals(workspace: Params, html: str) -> None:
    shown = html.split('<div class="numbers">')[1].split('<figure id="figure-1">')[0]
    assert shown.count("<div><b>") == 3
    accuracies = {
        name: (splits["test"]["accuracy"], splits["test"])
        for name, phases in results.read_metrics(workspace).items()
        for splits in phases.values()
        if name in ("alexnet", "mobilenet")
    }
    _, best = max(accuracies.values(), key=lambda each: each[0])
    bounds = f"{best['accuracy_low']:.3f} to {best['accuracy_high']:.3f}"
    assert f"<b>{best['accuracy']:.3f}</b><span>95 % interval {bounds}</span>" in shown


def test_one_plot_shows_every_net_beside_the_published_numbers(html: str) -> None:
    plot = html.split('<figure id="figure-1">')[1].split("</figure>")[0]
    rows = {row.split("</b>")[0]: row for row in plot.split('<div class="row"><b>')[1:]}
    assert set(rows) == {"alexnet", "alexnet, tuned", "mobilenet", "mobilenet, tuned", "xray-aug1", "xray-aug4"}
    assert 'class="ours"' in rows["alexnet"]
    assert '<i class="report" style="left:45.0%"></i>' in rows["alexnet"]
    assert '<i class="paper" style="left:56.0%"></i>' in rows["alexnet"]
    assert "report 0.45 · Hewitt &amp; Gunes 0.56" in rows["alexnet"]
    assert 'report 0.50<a href="#doubts">†</a>' in rows["xray-aug1"]
    assert 'class="one-class"' in rows["xray-aug1"]
    assert 'class="one-class"' not in rows["xray-aug4"]


def test_chapters_claim_what_the_numbers_show(workspace: Params, html: str) -> None:
    section = html.split('<section id="ablation-augmentation">')[1].split("</section>")[0]
    pair = results.read_differences(workspace)["xray-aug4", "xray-aug1"]
    assert pair.significant
    assert "<h2>Accuracy rises with augmentation level: 0.500 at 1," in section
    assert f"xray-aug4 − xray-aug1: {pair.difference:+.3f}" in section.split("<figure")[0]
    assert "another may give a different result" in section.split("<figure")[0]


def test_figures_are_numbered_in_order_and_have_captions(html: str) -> None:
    captions = re.findall(r"<figcaption><b>Figure (\d+)\.</b> \S", html)
    assert captions == [str(i + 1) for i in range(len(captions))]
    assert len(captions) == html.count("<figure") > 8


def test_no_table_has_more_columns_than_the_measure_holds(html: str) -> None:
    heads = re.findall(r"<thead><tr>(.*?)</tr></thead>", html)
    assert len(heads) > 40
    assert max(head.count("<th ") for head in heads) <= tables.MOST


def test_what_a_claim_rests_on_is_not_folded_away(html: str) -> None:
    section = html.split('<section id="claims">')[1].split("</section>")[0]
    open_part = section.split("<details>")[0]
    said, held = (int(number) for number in re.search(r"Of (\d+) claims .* papers (\d+) holds? here", section).groups())  # type: ignore[union-attr]
    assert open_part.count('<td class="holds"') == held
    assert open_part.count("<li>") + open_part.count('<tr><th scope="row"') == said
    looks = html.split('<section id="looks">')[1].split("<details>")[0]
    assert "times as much as chance would" in looks
    assert looks.count("<img") == 2


def test_a_net_that_looks_beside_the_evidence_is_named(workspace: Params) -> None:
    file = paths.run_plots("xray-aug4") / "figures/attention.csv"
    kept = file.read_text()
    file.write_text("class,images,ratio,low,high\ncovid,20,0.4,0.3,0.5\n")
    html = render(workspace)
    file.write_text(kept)
    headline = html.split('<section id="looks">')[1].split("</h2>")[0]
    assert "Right for the wrong reason: " in headline
    assert "for covid, xray-aug4 looks away from the evidence" in headline
    assert "only 0.40 times (0.30 to 0.50) for covid" in html


def test_clean_data_take_a_line_and_what_is_amiss_a_table(workspace: Params, html: str) -> None:
    assert '<td class="severe" data-label="severity">severe</td>' in html.split('<section id="data-faces">')[1]
    kept = paths.audit("faces").read_text()
    paths.audit("faces").write_text(kept.replace('"severe"', '"info"'))
    clean = render(workspace).split('<section id="data-faces">')[1].split("<figure")[0]
    paths.audit("faces").write_text(kept)
    assert "The audit found nothing amiss: identical files." in clean
    assert "<table" not in clean


def test_the_same_files_give_the_same_page(workspace: Params, html: str) -> None:
    assert render(workspace) == html


def test_only_runs_of_params_are_shown(workspace: Params) -> None:
    shutil.copy(paths.run_metrics("mobilenet"), paths.run_metrics("vggnet"))
    fewer = workspace.model_copy(update={"runs": {"xray-aug4": workspace.runs["xray-aug4"]}, "ablations": {}})
    html = render(fewer)
    assert 'id="run-xray-aug4"' in html
    assert "run-vggnet" not in html
    assert "run-mobilenet" not in html
    assert 'id="ablation-' not in html
    assert 'id="exported"' not in html


def test_the_summary_holds_a_headline_or_two_a_run(workspace: Params) -> None:
    metrics = results.read_metrics(workspace)
    found = results.summary(workspace, metrics)
    assert found.pop("alexnet").keys() == {"test_accuracy", "tuned_test_accuracy"}
    assert found == {
        "mobilenet": {
            "test_accuracy": metrics["mobilenet"]["base"]["test"]["accuracy"],
            "tuned_test_accuracy": metrics["mobilenet"]["tuned"]["test"]["accuracy"],
        },
        "xray-aug1": {"test_accuracy": 0.5, "one_class_answers": "base"},
        "xray-aug4": {"test_accuracy": metrics["xray-aug4"]["base"]["test"]["accuracy"]},
    }


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        (Policy(level=0, rotation=0, shift=0.0, flip=False), "the originals"),
        (
            Policy(level=2, rotation=0, shift=0.0, flip=False),
            "the originals; exact copies rotated by 90°, rotated by 180°",
        ),
        (
            Policy(level=0, rotation=20, shift=0.1, flip=True),
            "the originals; anew in every epoch: rotation up to 20°, shift up to 10 % of the side, flip left to right",
        ),
    ],
)
def test_a_policy_in_words(policy: Policy, words: str) -> None:
    assert page.in_words(policy) == words


def test_a_recipes_share_of_the_ranges_is_told() -> None:
    policy = Policy(level=0, rotation=20, shift=0.1, flip=True)
    assert "rotation up to 8°, shift up to 4 % of the side, flip" in page.in_words(policy, 0.4)
    assert page.in_words(policy, 0.0) == "the originals; anew in every epoch: flip left to right"


def test_how_nets_were_trained_is_what_the_recipe_says(html: str) -> None:
    text = " ".join(html.split())
    assert (
        "Muon for the kernels of dense layers and convolutions (relative update 5.0 times the rate), "
        "Adam for all else, at a rate that rises to 0.006 and falls along a cosine"
    ) in text
    assert "at a rate that rises to 0.001, stays there and falls along a line" in text
    assert "rotation up to 8°, shift up to 4 % of the side" in text


def measured(accuracy: float, drop: float) -> dict[str, Any]:
    """Return metrics on an external test set, with intervals 0.05 wide to each side."""
    bounds = {"accuracy_low": accuracy - 0.05, "accuracy_high": accuracy + 0.05}
    loss = {"drop": drop, "drop_low": drop - 0.05, "drop_high": drop + 0.05}
    return {"accuracy": accuracy, "constant": False} | bounds | loss


def test_losses_on_images_from_elsewhere_are_told(workspace: Params, html: str) -> None:
    assert 'id="elsewhere"' not in html
    path, sheet = paths.external_metrics("faces-elsewhere"), paths.external_plots("faces-elsewhere") / "samples.png"
    runs = {"alexnet": {"tuned": measured(0.3, 0.21)}, "mobilenet": {"tuned": measured(0.5, 0.04)}}
    content = {
        "study": "faces",
        "images": 23,
        "copies": 2,
        "without_class": 1,
        "by_class": {"anger": 20, "sad": 0},
        "runs": runs,
    }
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(content))
    write_sheet(sheet)
    chapter = render(workspace).split('<section id="elsewhere">')[1].split("</section>")[0]
    path.write_text(json.dumps(content | {"runs": {}}))
    without = render(workspace)
    path.unlink()
    assert "Images from elsewhere cost 1 of 2 nets accuracy, up to 0.210" in chapter
    left_out = "none of sad, 2 copies of the study’s own images left out, 1 images of other classes left out"
    assert f"faces-elsewhere (20 synthetic images, {left_out})" in chapter
    assert "→ 0.300" in chapter
    assert "loss 0.210 (0.160 to 0.260)" in chapter
    assert 'id="elsewhere"' not in without


def test_a_tune_split_unlike_train_is_told(workspace: Params) -> None:
    kept = paths.run_metrics("alexnet").read_text()
    metrics = json.loads(kept)
    metrics["base"]["tune"] |= {"accuracy": 0.1, "accuracy_low": 0.05, "accuracy_high": 0.15}
    metrics["base"]["test"] |= {"accuracy": 0.9, "accuracy_low": 0.85, "accuracy_high": 0.95}
    paths.run_metrics("alexnet").write_text(json.dumps(metrics))
    html = render(workspace)
    paths.run_metrics("alexnet").write_text(kept)
    chapter = html.split('<section id="elsewhere">')[1].split("</section>")[0]
    assert (
        "before tuning, costs accuracy too: 40% of its images are unlike those of train, against 5% of val" in chapter
    )
    assert "0.900 → 0.100" in chapter


def test_a_test_split_that_costs_accuracy_against_val_is_told(workspace: Params, html: str) -> None:
    kept = paths.run_metrics("xray-aug4").read_text()
    metrics = json.loads(kept)
    metrics["base"]["val"] |= {"accuracy": 0.95, "accuracy_low": 0.9, "accuracy_high": 0.99}
    metrics["base"]["test"] |= {"accuracy": 0.5, "accuracy_low": 0.4, "accuracy_high": 0.6}
    paths.run_metrics("xray-aug4").write_text(json.dumps(metrics))
    chapter = render(workspace).split('<section id="elsewhere">')[1].split("</section>")[0]
    paths.run_metrics("xray-aug4").write_text(kept)
    assert "Images of test cost 1 of 2 nets accuracy, up to 0.450 against val" in chapter
    assert "The split test of xray, against val, costs accuracy too" in chapter
    assert "0.950 → 0.500" in chapter


def test_what_tuning_gains_and_costs_is_told(workspace: Params, html: str) -> None:
    chapter = html.split('<section id="tuning">')[1].split("</section>")[0]
    assert chapter.count('<tr><th scope="row"') == 2
    assert "Tuning gains no net accuracy on images like those of tune beyond chance, and costs none on val" in chapter
    kept = paths.run_metrics("alexnet").read_text()
    metrics = json.loads(kept)
    gain = {"tuning_gain": 0.12, "tuning_gain_low": 0.05, "tuning_gain_high": 0.2, "is_tuning_gain_significant": True}
    metrics["tuned"]["tune_holdout"] |= gain
    metrics["tuned"]["val"] |= gain | {"tuning_gain": -0.07}
    paths.run_metrics("alexnet").write_text(json.dumps(metrics))
    chapter = render(workspace).split('<section id="tuning">')[1].split("</section>")[0]
    assert "Tuning gains 1 of 2 nets up to 0.120 on images like those of tune, and" in chapter
    assert "costs 1 of 2 nets up to 0.070 on val" in chapter
    files = {run: paths.run_metrics(run) for run in ("alexnet", "mobilenet")}
    kept_too = files["mobilenet"].read_text()
    for file in files.values():
        content = json.loads(file.read_text())
        whole = {phase: {key: its[key] for key in its if key != "tune_holdout"} for phase, its in content.items()}
        file.write_text(json.dumps(whole))
    chapter = render(workspace).split('<section id="tuning">')[1].split("</section>")[0]
    files["alexnet"].write_text(kept)
    files["mobilenet"].write_text(kept_too)
    assert "<h2>Tuning costs 1 of 2 nets up to 0.070 on val" in chapter
    assert "finetune.holdout" in chapter


def test_nets_that_need_no_evidence_are_counted(workspace: Params, html: str) -> None:
    assert 'id="occlusion"' not in html

    def result(accuracy: float, **more: Any) -> dict[str, Any]:
        its = {"accuracy": accuracy, "accuracy_low": accuracy - 0.1, "accuracy_high": accuracy + 0.1}
        return {"splits": {"test": its | {"accuracy": 0.52}, "val": its}, **more}

    blind, seen = result(0.6, is_blind=True, above_chance=[]), result(0.7, is_blind=False)
    found_out = result(0.8, is_blind=True, above_chance=["val"])
    runs = {
        run: {"phase": "base", "tests": {"without_lungs": found, "only_lungs": seen}}
        for run, found in {"xray-aug1": blind, "xray-aug4": found_out}.items()
    }
    content: dict[str, Any] = {"split": "test", "images": {"test": 40, "val": 10}, "chance": {"test": 0.5, "val": 0.5}}
    content |= {"ellipses": ["lungs"], "runs": runs}
    path, sheet = paths.occlusion_metrics("xray"), paths.occlusion_plots("xray") / "examples.png"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(content))
    write_sheet(sheet)
    chapter = render(workspace).split('<section id="occlusion">')[1].split("</section>")[0]
    path.unlink()
    assert "<h2>Without the evidence, 1 of 2 nets still beats chance: xray-aug4 by 0.300</h2>" in chapter
    assert "For X-rays the parts lungs are ellipses at the same place" in chapter
    assert chapter.count("worse") == 1
    assert "on val 0.800 (0.700 to 0.900)" in chapter


def test_what_other_splits_give_is_told(workspace: Params, html: str) -> None:
    assert 'id="splits"' not in html
    nets = {"xray-aug1": [0.5, 0.6], "xray-aug4": [0.7, 0.95]}
    runs = {
        run: {"accuracies": its, "accuracy": sum(its) / 2, "accuracy_low": 0.3, "accuracy_high": 0.9}
        for run, its in nets.items()
    }
    pair = {"first": "xray-aug4", "second": "xray-aug1", "difference": 0.275, "low": -0.1, "high": 0.6}
    content: dict[str, Any] = {
        "samples": "xray md5",
        "settings": settings_md5(workspace, "xray", list(nets)),
        "kind": "folds",
    }
    content |= {"count": 2, "runs": runs, "differences": [pair | {"significant": False}]}
    path = paths.other_splits("xray-synthetic")
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(content))
    chapter = render(workspace).split('<section id="splits">')[1].split("</section>")[0]
    path.write_text(json.dumps(content | {"samples": "of other images"}))
    other = render(workspace)
    path.unlink()
    assert "moves xray-aug4 between 0.700 and 0.950" in chapter
    assert "xray-aug4 − xray-aug1: +0.275 (−0.100 to +0.600), not significant." in chapter
    assert 'id="splits"' not in other


def test_nets_whose_confidence_is_wrong_beyond_chance_are_counted(workspace: Params, html: str) -> None:
    assert html.split('<section id="calibration">')[1].split("</section>")[0].count('<tr><th scope="row"') == 4
    kept = paths.run_metrics("xray-aug4").read_text()
    metrics = json.loads(kept)
    metrics["base"]["test"] |= {"calibration_error": 0.4, "calibration_error_chance": 0.1, "confidence_gap": 0.4}
    metrics["base"]["test"] |= {"temperature": 3.2, "calibration_error_scaled": 0.05, "brier_scaled": 0.2}
    paths.run_metrics("xray-aug4").write_text(json.dumps(metrics))
    chapter = render(workspace).split('<section id="calibration">')[1].split("</section>")[0]
    paths.run_metrics("xray-aug4").write_text(kept)
    assert "overconfident" in chapter.split("</h2>")[0]
    row = chapter.split("xray-aug4")[1].split("</tr>")[0]
    assert all(number in row for number in ("3.20", "0.400", "0.050", "0.100"))


def test_the_subgroup_with_a_significant_gap_is_the_headline(workspace: Params) -> None:
    file = paths.run_plots("xray-aug4") / "figures/base-test-subgroups.csv"
    kept = file.read_text()
    head = "column,value,images,accuracy,accuracy_low,accuracy_high,confidence_gap,sensitivity,gap,gap_low,gap_high,"
    rows = ("view,AP,40,0.5,0.4,0.6,0.1,0.2,0.3,0.1,0.5,True", "view,PA,60,0.8,0.7,0.9,0.0,0.9,-0.3,-0.5,-0.1,True")
    rare = "view,unknown,3,1.0,0.5,1.0,0.0,,,,,\nsite,C,10,0.4,0.2,0.7,0.0,,0.4,-0.1,0.7,False"
    file.write_text("\n".join([head + "is_significant", *rows, rare, ""]))
    try:
        chapter = render(workspace).split('<section id="subgroups">')[1].split("</section>")[0]
    finally:
        file.write_text(kept)
    assert "1 net is significantly worse on a subgroup: view: AP costs xray-aug4 0.300" in chapter
    assert "+0.300<small>+0.100 to +0.500" in chapter
    assert "unknown" not in chapter
