"""The page: one self-contained HTML file."""

import hashlib
import json
import shlex
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from cnnstudy.config.compose import choices
from cnnstudy.config.schema import Params, Policy
from cnnstudy.data import sources, specifications
from cnnstudy.data.samples import HOLDOUT
from cnnstudy.evaluation import results
from cnnstudy.evaluation.results import RunMetrics
from cnnstudy.export import results as export
from cnnstudy.external import results as external_results
from cnnstudy.occlusion import results as occlusion_results
from cnnstudy.published import contents, reference, verdicts
from cnnstudy.published.paper import Paper, paper_of
from cnnstudy.published.verdicts import Findings
from cnnstudy.report import compared, dots, story, summary, tables, valued
from cnnstudy.report.story import Chapter, Figure, Image
from cnnstudy.resampling import results as other_splits
from cnnstudy.workspace import files, locked, paths

# How many of the most frequent confusions are shown.
CONFUSIONS = 5
COPIES = ("rotated by 90°", "rotated by 180°", "rotated by 270°", "flipped left to right")
CHARTS = {"roc": "ROC", "confusion": "Confusion matrix", "examples": "Confusion matrix in images",
          "reliability": "Reliability diagram"}  # fmt: skip
# The packages that the numbers and figures depend on most.
PACKAGES = ("tensorflow", "keras", "numpy", "scipy", "scikit-learn", "pandas", "opencv-python-headless", "pillow",
            "matplotlib", "dvc", "mlflow")  # fmt: skip
# The folder of the templates that list a paper's contradictions.
PUBLISHED = Path(__file__).parent.parent / "published"


def render(params: Params, metrics: dict[str, RunMetrics], settings: list[str], folder: Path, lock: Path) -> str:
    """Return the page as HTML.

    `settings` are the `dvc exp run -S` overrides that reproduce it, `folder` holds the published numbers (see
    cnnstudy.published.reference), and `lock` is the lock file of the package versions.
    """
    everything, metrics = metrics, valued.of_classes(params, metrics)
    papers = {name: paper for name, study in params.studies.items() if (paper := paper_of(study))}
    audits = {study: _audit(study) for study in params.studies}
    foreign = {study: note for study, paper in papers.items() if (note := _not_comparable(audits[study], paper))}
    published = reference.read(folder, dict.fromkeys(file for paper in papers.values() for file in paper.files))
    numbers = published[~published["study"].isin(list(foreign))]
    findings = Findings(params, metrics, numbers, reference.read_layers(folder), results.read_differences(params))
    synthetic = [name for name, study in params.studies.items() if specifications.generator_of(study)]
    chapters = _chapters(findings, papers, foreign, published, audits)
    chapters += [
        chapter
        for study in params.studies
        if (chapter := valued.chapter(params, study, everything, reference.read_values(folder)))
    ]
    best_values = [number for study in params.studies if (number := valued.best_number(params, study, everything))]
    baselines = {study: audit["baselines"] for study, audit in audits.items()}
    runs = [_run(findings, run) for run in metrics]
    return (
        _environment()
        .get_template("page.html")
        .render(
            params=params,
            choices=choices(params),
            papers=papers,
            has_report=findings.has_report,
            synthetic=synthetic,
            foreign=foreign,
            severe=[line for study, audit in audits.items() for line in summary.severe(study, _severe(audit))],
            title=summary.title(findings, papers),
            paragraph=summary.paragraph(findings, papers, synthetic, everything, [each.headline for each in chapters]),
            numbers=[*best_values, *summary.numbers(findings, baselines)][: summary.NUMBERS],
            overview=dots.overview(findings, papers, _chances(findings, baselines)),
            constant=tables.constant_answers(metrics),
            chapters=chapters,
            studies=[_study(findings, study, papers.get(study), audits[study]) for study in params.studies],
            contents=contents.entries(params, reference.read_contents(folder)) if papers else [],
            batchnorm=tables.batchnorm_table(params, metrics),
            runs=runs,
            nets=[(run["name"], run["parameters"]) for run in runs],
            settings=[shlex.quote(each) for each in settings],
            hashes=_hashes(params, lock),
            versions={name: version for name, version in locked.versions(lock).items() if name in PACKAGES},
        )
    )


def _chapters(
    its: Findings, papers: dict[str, Paper], foreign: dict[str, str], published: pd.DataFrame,
    audits: dict[str, dict[str, Any]],
) -> list[Chapter]:  # fmt: skip
    """Return the chapters in the order of the page."""
    params = its.params
    chances = _chances(its, {study: audit["baselines"] for study, audit in audits.items()})
    judged = {
        study: verdicts.judge(
            paper.claims, its, {name: external_results.read_differences(name) for name in params.external_of(study)}
        )
        for study, paper in papers.items()
        if study not in foreign
    }
    files_ = {study: f"{params.studies[study].paper}.html" for study in papers}
    files_ = {study: file for study, file in files_.items() if (PUBLISHED / file).exists()}
    points = sum(_read_template(file).count("<li>") for file in files_.values())
    measured = {run: export.read_numbers(run) for run in its.metrics if run in params.exported}
    exported = tables.export_table(papers.values(), measured, published)
    tested = {name: external for name in params.external if (external := external_results.read(name))}
    hidden = {study: each for study in params.studies if (each := occlusion_results.read(study))}
    found = [
        story.batchnorm(its),
        *(
            story.ablation(its, name, papers.get(ablation.study), chances[ablation.study])
            for name, ablation in params.ablations.items()
            if not params.task_of(next(iter(ablation.runs))).has_values
        ),
        story.tuning(its),
        story.elsewhere(its, tested, {name: _sheet(name) for name, each in tested.items() if each["runs"]}, audits),
        story.occlusion(its, hidden, {study: _hidden_sheet(study) for study, each in hidden.items() if each["runs"]}),
        story.calibration(its) if its.metrics else None,
        *(story.operating(its, study) for study in params.studies),
        story.subgroups(its),
        story.claims(its, judged),
        story.contradictions(its, papers, files_, points),
        story.gallery(its) if its.metrics else None,
        story.exported(measured, exported, _timing(its)),
        story.recipes([found for study in params.studies if (found := _recipes(params, study))]),
        story.other_splits(
            its,
            {
                study: each
                for study, audit in audits.items()
                if (each := other_splits.read(params, study, audit["files"]["samples.csv"]))
            },
        ),
    ]
    return [chapter for chapter in found if chapter]


def _sheet(name: str) -> str:
    return results.data_uri(paths.external_plots(name) / "samples.png")


def _hidden_sheet(study: str) -> str:
    return results.data_uri(paths.occlusion_plots(study) / "examples.png")


def _chances(its: Findings, baselines: dict[str, dict[str, dict[str, float]]]) -> dict[str, float | None]:
    """Return by study the accuracy of always predicting the largest class, on the primary split."""
    return {
        study: baselines[study].get("largest_class", {}).get(settings.primary_split)
        for study, settings in its.params.studies.items()
    }


def _timing(its: Findings) -> str:
    """Return the image size and machine of the exported files' times, in words."""
    exported = {its.params.exported[run].study for run in its.metrics if run in its.params.exported}
    sides = {f"{side}×{side}" for study in sorted(exported) for side in [its.params.studies[study].image_size]}
    runs = [run for run in its.metrics if run in its.params.exported]
    is_timed = any("latency_ms" in numbers for run in runs for numbers in export.read_numbers(run).values())
    machine = export.read_machine().get("cpu", "") if is_timed else ""
    size = f"The nets take images of {summary.joined(sorted(sides))} pixels"
    if not machine:
        return f"{size}. The command “cnnstudy latency” adds how long an image takes."
    return (
        f"{size}. Times are the median per image on one thread of {machine}, not on a phone; a dash means that "
        "the net was not timed with images of this size."
    )


def _read_template(name: str) -> str:
    return (PUBLISHED / name).read_text(encoding="utf-8")


def _environment() -> Environment:
    """Return the Jinja environment, with the templates in this folder and those of the papers."""
    return Environment(
        loader=FileSystemLoader([Path(__file__).parent, PUBLISHED]), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip


def in_words(policy: Policy, share: float = 1) -> str:
    """Return an augmentation policy in words; `share` is the recipe's `augmentation`, which scales the ranges."""
    angle, way = policy.rotation * share, 100 * policy.shift * share
    copies = [f"exact copies {', '.join(COPIES[: policy.level])}"] if policy.level else []
    rotation = [f"rotation up to {angle:g}°"] if angle else []
    shift = [f"shift up to {way:g} % of the side"] if way else []
    flip = ["flip left to right"] if policy.flip else []
    scaled = {name: getattr(policy, name) * share for name in ("crop", "brightness", "contrast", "cutout")}
    more = [f"{name} {value:g}" for name, value in {**scaled, "mixing": policy.mixing}.items() if value]
    changes = rotation + shift + flip + more
    random = [f"anew in every epoch: {', '.join(changes)}"] if changes else []
    return "; ".join(["the originals", *copies, *random])


def _not_comparable(audit: dict[str, Any], paper: Paper) -> str:
    """Return why the published numbers cannot be compared with those on this data; '' if they can."""
    balance = audit["balance"]
    present = sorted({name for counts in balance.values() for name, count in counts.items() if count})
    if set(present) == set(paper.classes):
        return ""
    theirs = f"{len(paper.classes)} classes ({', '.join(paper.classes)})"
    return f"{theirs}, this data has {len(present)} ({', '.join(present)})"


def _recipes(params: Params, study: str) -> dict[str, Any]:
    """Return the results of `cnnstudy recipes` for this study's data, profile and nets, or {}."""
    name = f"{study}-{params.studies[study].data or params.studies[study].source.format}"
    if not paths.recipes(name).exists():
        return {}
    content = json.loads(paths.recipes(name).read_text(encoding="utf-8"))
    runs = {run: its for run, its in content["runs"].items() if run in params.all_runs}
    if not runs or content["profile"] != params.profile:
        return {}
    title, figure = params.studies[study].title, paths.recipes_figure(name)
    text = f"Accuracy by images seen, {title}"
    image = Image(f"recipes-{study}", text, results.data_uri(figure)) if figure.exists() else None
    table = tables.recipes_table(runs, f"{title}, {content['split']}, {content['epochs']} epochs")
    return content | {"runs": runs, "title": title, "table": table, "image": image}


def _audit(study: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(paths.audit(study).read_text(encoding="utf-8"))
    return content


def _severe(audit: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the severe findings of the audit in the data as used."""
    return [finding for finding in audit["findings"]["used"] if finding["severity"] == "severe"]


def _to_show(audit: dict[str, Any]) -> dict[str, Any]:
    """Return an audit without the parts shown elsewhere and without findings that need no action."""
    rest = {key: its for key, its in audit.items() if key not in ("baselines", "files", "findings")}
    findings = {
        name: [each for each in found if each["severity"] != "info"] for name, found in audit["findings"].items()
    }
    return rest | {"findings": findings}


def _study(its: Findings, name: str, paper: Paper | None, audit: dict[str, Any]) -> dict[str, Any]:
    """Return a study's data card, tables and sheets, and what its audit found amiss."""
    params = its.params
    study, runs = params.studies[name], [run for run in params.class_runs_of(name) if run in its.metrics]
    balance = list(audit["balance"].values())
    confusions = results.confusions(params, name).head(CONFUSIONS) if len(study.classes) > 2 else pd.DataFrame()
    generator = specifications.generator_of(study)
    used = audit["findings"]["used"]
    sheets = {path.stem: path for path in sorted(paths.audit_plots(name).glob("*.png"))}
    samples = sheets.pop("samples", None)
    chosen = "; below each, the properties its generator chose" if generator else ""
    text = f"{study.title}: some images of each class{chosen}."
    shown = Figure(text, image=Image(f"samples-{name}", text, results.data_uri(samples))) if samples else None
    return {
        "name": name,
        "settings": study,
        "paper": paper,
        "about": sources.about(study.source.format),
        "limits": generator.LIMITS if generator else "",
        "images": audit["images"],
        "classes": [each for each in study.classes if any(counts.get(each) for counts in balance)],
        "rejected": audit.get("rejected", 0),
        "without_person": audit.get("persons", {}).get("images_without", 0),
        "hashes": audit["files"],
        "clean": [each["kind"] for each in used if each["severity"] == "info"],
        "amiss": tables.findings_table([each for each in used if each["severity"] != "info"]),
        "table": tables.study_table(params, name, its.metrics),
        "beside_report": tables.report_table(its, paper, runs) if paper else None,
        "beside_paper": compared.paper_table(paper, runs, its.metrics, its.numbers) if paper else None,
        "baselines": tables.baselines_table(audit["baselines"]),
        "confusions": None if confusions.empty else tables.confusions_table(confusions),
        "audit": tables.audit_tables(_to_show(audit)),
        "samples": shown,
        "sheets": [(stem, results.data_uri(path)) for stem, path in sheets.items()],
        "policies": [
            (each, in_words(policy), results.data_uri(paths.policy_figure(name, each)))
            for each, policy in study.policies.items()
        ],
    }


def _run(its: Findings, run: str) -> dict[str, Any]:
    """Return a run's settings, tables and images on the primary split; those on other splits are under `more`."""
    params, phases = its.params, its.metrics[run]
    settings = params.all_runs[run]
    table = results.read_layers(run)
    headline = params.study_of(run).primary_split
    last = phases[list(phases)[-1]][headline]
    # The chapter on tuning has what matters of the images held out.
    others = [
        (phase, split) for phase, splits in phases.items() for split in splits if split not in (headline, HOLDOUT)
    ]
    is_beside_report = its.has_report and params.study_of(run).paper is not None
    return {
        "name": run,
        "settings": settings,
        "options": params.options_of(run),
        "policy": in_words(params.policy_of(run), params.run_recipe(run).augmentation),
        "parameters": int(table["parameters"].sum()),
        "accuracy": f"{last['accuracy']:.3f}",
        "bounds": tables.interval(last),
        "split": headline,
        "constant": any(split["constant"] for splits in phases.values() for split in splits.values()),
        "phases": [_phase(its, run, phase, headline) for phase in phases],
        "saliency": _saliency(run, list(phases)[-1]),
        "more": [image for phase, split in others for image in _charts(run, phase, split, f"-{split}")],
        "texts": [_text(run, phase, split) for phase, splits in phases.items() for split in splits],
        "layers": tables.layer_table(table),
        "layers_as": tables.layers_as_printed(run, table, its.layers) if is_beside_report else "",
        "report_size": table["shape"][0],
    }


def _phase(its: Findings, run: str, phase: str, headline: str) -> dict[str, Any]:
    curves = results.data_uri(paths.run_plots(run) / "figures" / f"{phase}-curves.png")
    splits = its.metrics[run][phase]
    return {
        "name": phase,
        "tables": tables.phase_tables(phase, splits),
        "curves": Image(contents.figure_id(run, phase, "curves"), f"Curves of {run}, {phase}", curves),
        "charts": _charts(run, phase, headline),
        "reports_id": contents.figure_id(run, phase, "report"),
        "reports": compared.published_parts(run, phase, splits, its.numbers),
    }


def _charts(run: str, phase: str, split: str, end: str = "") -> list[Image]:
    figures = paths.run_plots(run) / "figures"
    files, title = {kind: figures / f"{phase}-{split}-{kind}.png" for kind in CHARTS}, f"{run}, {phase}, {split}"
    return [
        Image(f"{contents.figure_id(run, phase, kind)}{end}", f"{CHARTS[kind]} of {title}", results.data_uri(file))
        for kind, file in files.items()
        if file.exists() and not (end and kind == "examples")
    ]


def _saliency(run: str, phase: str) -> list[Image]:
    figures = paths.run_plots(run) / "figures"
    texts = {"gradcam": "Saliency, most confident correct predictions", "mistakes": "Most confident wrong predictions"}
    return [
        Image(contents.figure_id(run, "", kind), f"{text} of {run}, {phase}", results.data_uri(figures / f"{kind}.png"))
        for kind, text in texts.items()
    ]


def _text(run: str, phase: str, split: str) -> str:
    return (paths.run_plots(run) / "figures" / f"{phase}-{split}-report.txt").read_text(encoding="utf-8")


def _hashes(params: Params, lock: Path) -> dict[str, str]:
    """Return the MD5 hashes of the page's parameters, in a fixed order, and of the lock file."""
    content = json.dumps(params.model_dump(exclude={"compute", "audit", "tracking"}), sort_keys=True)
    return {
        "parameters": hashlib.md5(content.encode(), usedforsecurity=False).hexdigest(),
        lock.name: files.md5(lock),
    }
