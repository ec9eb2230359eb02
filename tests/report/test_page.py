"""The page and the summary, from the outputs of the stages before."""

import shutil
from html.parser import HTMLParser

import pytest
from reported import RUNS, render, write_audit

from cnnstudy.config.schema import Params, Plan
from cnnstudy.report import page, results, tables
from cnnstudy.report.reference import Published
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
    assert "<script" not in html
    assert "http" not in html
    inside = [target for target in outline.targets if target.startswith("#")]
    assert {target[1:] for target in inside} <= set(outline.ids)
    assert all(target.startswith("data:image/") for target in outline.targets if target not in inside)
    assert len(set(outline.ids)) == len(outline.ids)


def test_what_is_severe_in_the_data_is_said_first(html: str) -> None:
    summary = html.split('<section id="summary">')[1].split("</section>")[0]
    for study in ("faces", "xray"):
        words = "identical files, 2 images. Look at &lt;b&gt;a&amp;b&lt;/b&gt;.png"
        assert f"<li>{study}, severe: {words}</li>" in summary


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


def test_of_several_seeds_it_is_said_how_many_answered_one_class() -> None:
    split = {"constant": True, "constant_seeds": 1, "accuracy_seeds": [0.5, 0.8]}
    assert tables.constant_answers({"xray-aug0": {"base": {"test": split}}}) == ["xray-aug0, base: test (1 of 2 seeds)"]


def test_a_published_number_inside_our_interval_is_marked() -> None:
    ours = {"accuracy": 0.5, "accuracy_low": 0.45, "accuracy_high": 0.55}
    cells = [tables._difference(ours, Published(value, "3")) for value in (0.46, 0.44)]
    assert [(cell.text, cell.mark) for cell in cells] == [("+0.040", "inside"), ("+0.060", "")]


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


def test_every_number_of_a_classification_report_stands_beside_the_reports(workspace: Params, html: str) -> None:
    section = html.split('<div id="alexnet-base-report">')[1].split("</div>\n</div>")[0]
    ours = results.read_report("alexnet", "base", "val")
    rows = section.split("val, table 3")[1].split("<tr>")
    sad = next(row for row in rows if row.startswith('<th scope="row">sad</th>'))
    cells = [cell.split(">")[-1] for cell in sad.split("</td>")[:-1]]
    expected = []
    for column, printed in (("precision", 0.28), ("recall", 0.74), ("f1-score", 0.40)):
        value = ours.loc["sad", column]
        expected += [f"{value:.3f}", f"{printed:.2f}", f"{value - printed:+.2f}".replace("-", "−")]
    assert cells == [*expected, "4", "200"]


def test_specificity_and_the_reports_coding_are_named(html: str) -> None:
    section = html.split('<div id="xray-aug1-base-report">')[1].split('<section id="run-')[0]
    assert "covid (report: 1)" in section
    assert '<th scope="row">specificity</th>' in section
    assert "train_augmented, table 9" in section


def test_a_log_stands_beside_our_loss(workspace: Params, html: str) -> None:
    ours = results.read_metrics(workspace)["mobilenet"]["tuned"]["val"]["loss"]
    section = html.split('<div id="mobilenet-tuned-report">')[1].split("</table>")[0]
    assert f"<td>{ours:.3f}</td><td>2.49</td>" in section


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
    assert "row for row as in table 8 and 17 of the report" in html
    assert "row for row as in table 7 of the report" in html
    assert "not as in" not in html


def test_the_page_says_how_to_reproduce_it(html: str) -> None:
    assert "samples.csv <code>faces md5</code>" in html
    assert "tensorflow 2." in html
    section = html.split('<section id="reproduce">')[1]
    assert section.count("<code>") >= 4
    assert "dvc exp run --temp -S model=all -S &#39;seeds=[0,1]&#39;\nmake ui" in section


def test_the_cards_say_what_it_is_not_for(outline: Outline) -> None:
    assert "Not for clinical use:" in outline.text
    assert "Drawn by this project" in outline.text


def test_text_from_files_is_escaped(html: str, outline: Outline) -> None:
    assert "<b>a&b</b>" not in html
    assert "Look at <b>a&b</b>.png" in outline.text


def test_large_pictures_are_made_smaller(html: str) -> None:
    assert len(html) < 10_000_000  # the pictures hold 38 MB
    assert html.count("data:image/webp") >= 2 + 6


def test_nets_for_phones_stand_beside_the_papers_size_and_time(html: str) -> None:
    section = html.split('<section id="phone">')[1].split("</section>")[0]
    assert "one thread of A processor" in section
    rows = {(run, precision): row.split("</tr>")[0]
            for run in ("alexnet", "mobilenet") for precision in ("float32", "int8")
            for row in [section.split(f'{run}</th><td class="text">{precision}</td>')[1]]}  # fmt: skip
    cells = ["3.48", "15", "0.743", "−0.007", "0.980", "0.050", "1.25", "1.50", "22.4"]
    assert rows["mobilenet", "int8"] == "".join(f"<td>{cell}</td>" for cell in cells)
    assert "<td>–</td><td>–</td><td>22.4</td>" in rows["alexnet", "float32"]


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
    assert 'id="phone"' not in html


def test_the_summary_holds_a_headline_or_two_a_run(workspace: Params) -> None:
    metrics = results.read_metrics(workspace)
    found = results.summary(workspace, metrics)
    assert found.pop("alexnet").keys() == {"val_accuracy", "tuned_val_accuracy"}
    assert found == {
        "mobilenet": {
            "val_accuracy": metrics["mobilenet"]["base"]["val"]["accuracy"],
            "tuned_val_accuracy": metrics["mobilenet"]["tuned"]["val"]["accuracy"],
        },
        "xray-aug1": {"test_accuracy": 0.5, "one_class_answers": "base"},
        "xray-aug4": {"test_accuracy": metrics["xray-aug4"]["base"]["test"]["accuracy"]},
    }


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (Plan(level=0, rotation=0, shift=0.0, flip=False), "the originals"),
        (
            Plan(level=2, rotation=0, shift=0.0, flip=False),
            "the originals; exact copies rotated by 90°, rotated by 180°",
        ),
        (
            Plan(level=0, rotation=20, shift=0.1, flip=True),
            "the originals; anew in every epoch: rotation up to 20°, shift up to 10 % of the side, flip left to right",
        ),
    ],
)
def test_a_policy_in_words(plan: Plan, words: str) -> None:
    assert page.policy(plan) == words


def test_a_recipes_share_of_the_ranges_is_told() -> None:
    plan = Plan(level=0, rotation=20, shift=0.1, flip=True)
    assert "rotation up to 8°, shift up to 4 % of the side, flip" in page.policy(plan, 0.4)
    assert page.policy(plan, 0.0) == "the originals; anew in every epoch: flip left to right"


def test_how_nets_were_trained_is_what_the_recipe_says(html: str, workspace: Params) -> None:
    assert workspace.training.faces.optimizer == workspace.training.xray.optimizer == "muon"
    text = " ".join(html.split())
    assert (
        "Muon for the kernels of dense layers and convolutions (5.0 times the rate), Adam for all else, "
        "at a rate that rises to 0.006 and falls along a cosine"
    ) in text
    assert "at a rate that rises to 0.001, stays there and falls along a line" in text
    assert "rotation up to 8°, shift up to 4 % of the side" in text
