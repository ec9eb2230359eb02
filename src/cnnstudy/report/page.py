"""The page: one HTML file with everything in it."""

import hashlib
import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from cnnstudy.config.schema import HEADLINE, Params, Plan, StudyName
from cnnstudy.data import synth
from cnnstudy.export import results as export
from cnnstudy.report import claims, compared, contents, reference, results, summary, tables
from cnnstudy.report.claims import Findings
from cnnstudy.report.results import RunMetrics
from cnnstudy.workspace import files, locked, paths

STUDY_TITLES = {"faces": "Facial expressions", "xray": "Chest films"}
# How many of the most frequent confusions are shown.
CONFUSIONS = 5
COPIES = ("rotated by 90°", "rotated by 180°", "rotated by 270°", "flipped left to right")
CHARTS = {"roc": "ROC", "confusion": "Confusion matrix", "examples": "Confusion matrix in pictures"}
# What the numbers and figures depend on most.
PACKAGES = ("tensorflow", "keras", "numpy", "scipy", "scikit-learn", "pandas", "opencv-python-headless", "pillow",
            "matplotlib", "dvc", "mlflow")  # fmt: skip


@dataclass(frozen=True)
class Picture:
    """A picture with the id it is linked by and the words for who can't see it."""

    id: str
    text: str
    uri: str


def render(params: Params, metrics: dict[str, RunMetrics], settings: list[str], folder: Path, lock: Path) -> str:
    """The page as HTML.

    `settings` is what `dvc exp run -S` takes for it, `folder` holds the published numbers (see
    cnnstudy.report.reference), `lock` the versions.
    """
    foreign = {study: note for study in params.studies if (note := _not_comparable(study))}
    published = reference.read(folder)
    numbers = published[~published["study"].isin(list(foreign))]
    findings = Findings(params, metrics, numbers, reference.read_layers(folder), results.read_differences(params))
    judged = {study: claims.claims(findings, study) for study in params.studies if study not in foreign}
    runs = [_run(findings, run) for run in metrics]
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template("page.html").render(
        params=params,
        drawn=[study for study in params.studies if params.source(study).format == "drawn"],
        foreign=foreign,
        summary=summary.lines(findings, judged, {study: _severe(study) for study in params.studies}),
        constant=tables.constant_answers(metrics),
        studies=[_study(findings, study) for study in params.studies],
        ablations=[_ablation(findings, name) for name in params.ablations],
        claims={STUDY_TITLES[study]: tables.claims_table(found) for study, found in judged.items()},
        contents=contents.entries(params, reference.read_contents(folder)),
        batchnorm=tables.batchnorm_table(params, metrics),
        phone=tables.phone_table(
            {run: export.read_numbers(run) for run in metrics if run in params.finetuned}, published
        ),
        recipes=[found for study in params.studies if (found := _recipes(params, study))],
        timed_on=export.read_machine().get("cpu", ""),
        runs=runs,
        nets=[(run["name"], run["parameters"]) for run in runs],
        settings=[shlex.quote(each) for each in settings],
        hashes=_hashes(params, lock),
        versions={name: version for name, version in locked.versions(lock).items() if name in PACKAGES},
    )


def policy(plan: Plan, share: float = 1) -> str:
    """An augmentation plan in words, with a share of its ranges, as a recipe may take."""
    angle, way = plan.rotation * share, 100 * plan.shift * share
    copies = [f"exact copies {', '.join(COPIES[: plan.level])}"] if plan.level else []
    rotation = [f"rotation up to {angle:g}°"] if angle else []
    shift = [f"shift up to {way:g} % of the side"] if way else []
    flip = ["flip left to right"] if plan.flip else []
    random = [f"anew in every epoch: {', '.join(rotation + shift + flip)}"] if rotation or shift or flip else []
    return "; ".join(["the originals", *copies, *random])


def _not_comparable(study: str) -> str:
    """Why the published numbers say nothing about this data; '' where they can be set beside ours."""
    published = synth.FACES if study == "faces" else synth.FILMS
    balance = _audit(study)["balance"]
    present = sorted({name for counts in balance.values() for name, count in counts.items() if count})
    if set(present) == set(published):
        return ""
    return f"{len(published)} classes ({', '.join(published)}), this data has {len(present)} ({', '.join(present)})"


def _recipes(params: Params, study: str) -> dict[str, Any]:
    """What `cnnstudy recipes` found on data of this kind and size for the nets of this page; {} where it found none."""
    name = f"{study}-{params.faces_data if study == 'faces' else params.xray_data}"
    if not paths.recipes(name).exists():
        return {}
    content = json.loads(paths.recipes(name).read_text(encoding="utf-8"))
    runs = {run: its for run, its in content["runs"].items() if run in params.runs}
    if not runs or content["profile"] != params.profile:
        return {}
    drawn = [paths.recipes_figure(name)] if paths.recipes_figure(name).exists() else []
    text = f"Accuracy by images seen, {study}"
    pictures = [Picture(f"recipes-{study}", text, results.picture(path)) for path in drawn]
    return content | {"title": STUDY_TITLES[study], "table": tables.recipes_table(runs), "pictures": pictures}


def _audit(study: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(paths.audit(study).read_text(encoding="utf-8"))
    return content


def _severe(study: str) -> list[dict[str, Any]]:
    """What the audit found severe in the data as it is used."""
    return [finding for finding in _audit(study)["findings"]["as it is used"] if finding["severity"] == "severe"]


def _study(its: Findings, study: StudyName) -> dict[str, Any]:
    params = its.params
    audit = _audit(study)
    baselines, hashes = audit.pop("baselines"), audit.pop("files")
    balance = list(audit["balance"].values())
    plans = params.plans[study].items()
    is_faces = study == "faces"
    confusions = results.confusions(params, study).head(CONFUSIONS) if is_faces else pd.DataFrame()
    return {
        "name": study,
        "title": STUDY_TITLES[study],
        "settings": params.faces if is_faces else params.xray,
        "format": (params.sources.faces if is_faces else params.sources.xray).format,
        "images": audit["images"],
        "classes": [name for name in params.study(study).classes if any(counts.get(name) for counts in balance)],
        "rejected": audit.get("rejected", 0),
        "hashes": hashes,
        "table": tables.faces_table(params, its.metrics, its.numbers) if is_faces else None,
        "paper": compared.paper_table(params, its.metrics, its.numbers) if is_faces else None,
        "baselines": tables.baselines_table(baselines),
        "confusions": None if confusions.empty else tables.confusions_table(confusions),
        "audit": tables.audit_tables(audit),
        "sheets": [(path.stem, results.picture(path)) for path in sorted(paths.audit_plots(study).glob("*.png"))],
        "plans": [(name, policy(plan), results.picture(paths.plan_figure(study, name))) for name, plan in plans],
    }


def _ablation(its: Findings, name: str) -> dict[str, Any]:
    ablation, folder = its.params.ablations[name], paths.ablation_plots(name)
    table = results.read_ablation(name)
    texts = {
        "curve": f"Accuracy by {ablation.axis}",
        "differences": f"Differences in accuracy by {ablation.axis}",
        "training": f"Training by {ablation.axis}",
    }
    pictures = {kind: Picture(f"ablation-{name}-{kind}", text, results.picture(folder / f"{kind}.png"))
                for kind, text in texts.items() if (folder / f"{kind}.png").exists()}  # fmt: skip
    return {
        "name": name,
        "study": ablation.study,
        "axis": ablation.axis,
        "table": None if ablation.has_words else tables.ablation_table(name, ablation.axis, table, its.numbers),
        "pictures": list(pictures.values()),
        "real": tables.real_differences(results.read_ablation_differences(name)),
    }


def _run(its: Findings, run: str) -> dict[str, Any]:
    """A run's settings, tables and pictures; each phase shows the split that counts, `more` has the others'."""
    params, phases = its.params, its.metrics[run]
    settings = params.runs[run]
    table = results.read_layers(run)
    headline = HEADLINE[settings.study]
    others = [(phase, split) for phase, splits in phases.items() for split in splits if split != headline]
    return {
        "name": run,
        "settings": settings,
        "policy": policy(params.plan_of(run), params.run_recipe(run).augmentation),
        "parameters": int(table["parameters"].sum()),
        "constant": any(split["constant"] for splits in phases.values() for split in splits.values()),
        "table": tables.run_table(phases),
        "phases": [_phase(its, run, phase, headline) for phase in phases],
        "looks": _looks(run, list(phases)[-1]),
        "more": [picture for phase, split in others for picture in _charts(run, phase, split, f"-{split}")],
        "texts": [_text(run, phase, split) for phase, splits in phases.items() for split in splits],
        "layers": tables.layer_table(table),
        "layers_as": tables.layers_as_printed(run, table, its.layers),
        "report_size": table["shape"][0],
    }


def _phase(its: Findings, run: str, phase: str, headline: str) -> dict[str, Any]:
    curves = results.picture(paths.run_plots(run) / "figures" / f"{phase}-curves.png")
    return {
        "name": phase,
        "curves": Picture(contents.figure_id(run, phase, "curves"), f"Curves of {run}, {phase}", curves),
        "charts": _charts(run, phase, headline),
        "reports_id": contents.figure_id(run, phase, "report"),
        "reports": compared.published_parts(run, phase, its.metrics[run][phase], its.numbers),
    }


def _charts(run: str, phase: str, split: str, end: str = "") -> list[Picture]:
    figures = paths.run_plots(run) / "figures"
    files, title = {kind: figures / f"{phase}-{split}-{kind}.png" for kind in CHARTS}, f"{run}, {phase}, {split}"
    return [
        Picture(f"{contents.figure_id(run, phase, kind)}{end}", f"{CHARTS[kind]} of {title}", results.picture(file))
        for kind, file in files.items()
        if file.exists() and not (end and kind == "examples")
    ]


def _looks(run: str, phase: str) -> list[Picture]:
    figures = paths.run_plots(run) / "figures"
    texts = {"gradcam": "What speaks for the surest right answers", "mistakes": "The surest wrong answers"}
    return [
        Picture(
            contents.figure_id(run, "", kind), f"{text} of {run}, {phase}", results.picture(figures / f"{kind}.png")
        )
        for kind, text in texts.items()
    ]


def _text(run: str, phase: str, split: str) -> str:
    return (paths.run_plots(run) / "figures" / f"{phase}-{split}-report.txt").read_text(encoding="utf-8")


def _hashes(params: Params, lock: Path) -> dict[str, str]:
    """MD5 of the parameters that this page depends on, in a fixed order, and of the lock file."""
    content = json.dumps(params.model_dump(exclude={"compute", "audit", "tracking", "promotion"}), sort_keys=True)
    return {
        "parameters": hashlib.md5(content.encode(), usedforsecurity=False).hexdigest(),
        lock.name: files.md5(lock),
    }
