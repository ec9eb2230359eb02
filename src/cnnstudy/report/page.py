"""The page: one HTML file with everything in it."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from cnnstudy import paths
from cnnstudy.data import synth
from cnnstudy.params import HEADLINE, Params, Plan
from cnnstudy.report import results, tables
from cnnstudy.report.results import RunMetrics

STUDY_TITLES = {"faces": "Facial expressions", "xray": "Chest films"}
# How many of the most frequent confusions are shown.
CONFUSIONS = 5
COPIES = ("rotated by 90°", "rotated by 180°", "rotated by 270°", "flipped left to right")


def render(params: Params, metrics: dict[str, RunMetrics], numbers: pd.DataFrame) -> str:
    """The page as HTML; `numbers` are the published ones (see cnnstudy.report.reference)."""
    foreign = {study: note for study in params.studies if (note := _not_comparable(study))}
    numbers = numbers[~numbers["study"].isin(list(foreign))]
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template("page.html").render(
        params=params,
        drawn=[study for study in params.studies if params.source(study).format == "drawn"],
        foreign=foreign,
        constant=tables.constant_answers(metrics),
        studies=[_study(params, metrics, numbers, study) for study in params.studies],
        ablations=[_ablation(params, name, numbers) for name in params.ablations],
        batchnorm=tables.batchnorm_table(params, metrics),
        runs=[_run(params, run, phases) for run, phases in metrics.items()],
    )


def policy(plan: Plan) -> str:
    """An augmentation plan in words."""
    copies = [f"exact copies {', '.join(COPIES[: plan.level])}"] if plan.level else []
    rotation = [f"rotation up to {plan.rotation}°"] if plan.rotation else []
    shift = [f"shift up to {100 * plan.shift:g} % of the side"] if plan.shift else []
    flip = ["flip left to right"] if plan.flip else []
    random = [f"anew in every epoch: {', '.join(rotation + shift + flip)}"] if rotation or shift or flip else []
    return "; ".join(["the originals", *copies, *random])


def _not_comparable(study: str) -> str:
    """Why the published numbers say nothing about this data; '' where they can be set beside ours."""
    published = synth.FACES if study == "faces" else synth.FILMS
    balance = json.loads(paths.audit(study).read_text(encoding="utf-8"))["balance"]
    present = sorted({name for counts in balance.values() for name, count in counts.items() if count})
    if set(present) == set(published):
        return ""
    return f"{len(published)} classes ({', '.join(published)}), this data has {len(present)} ({', '.join(present)})"


def _study(params: Params, metrics: dict[str, RunMetrics], numbers: pd.DataFrame, study: str) -> dict[str, Any]:
    audit = json.loads(paths.audit(study).read_text(encoding="utf-8"))
    baselines = audit.pop("baselines")
    plans = {name: plan for name, plan in params.plans.items() if plan.study == study}
    confusions = results.confusions(params, study).head(CONFUSIONS) if study == "faces" else pd.DataFrame()
    return {
        "name": study,
        "title": STUDY_TITLES[study],
        "settings": params.faces if study == "faces" else params.xray,
        "table": tables.faces_table(params, metrics, numbers) if study == "faces" else None,
        "baselines": tables.baselines_table(baselines),
        "confusions": None if confusions.empty else tables.confusions_table(confusions),
        "audit": tables.audit_tables(audit),
        "sheets": [(path.stem, results.picture(path)) for path in sorted(paths.audit_plots(study).glob("*.png"))],
        "plans": [(name, policy(plan), results.picture(paths.plan_figure(name))) for name, plan in plans.items()],
    }


def _ablation(params: Params, name: str, numbers: pd.DataFrame) -> dict[str, Any]:
    ablation = params.ablations[name]
    return {
        "name": name,
        "study": ablation.study,
        "axis": ablation.axis,
        "table": tables.ablation_table(name, ablation.axis, results.read_ablation(name), numbers),
        "curve": results.picture(paths.ablation_plots(name) / "curve.png"),
    }


def _run(params: Params, run: str, phases: RunMetrics) -> dict[str, Any]:
    """A run's settings, tables and pictures; `shown` are those of the split that counts, `more` the others'."""
    settings = params.runs[run]
    figures = paths.run_plots(run) / "figures"
    layers = results.read_layers(run)
    headline = (list(phases)[-1], HEADLINE[settings.study])
    names = [(phase, split) for phase, splits in phases.items() for split in splits]
    pictures = {
        (phase, split): [
            (f"{kind} of {run}, {phase}, {split}", results.picture(figures / f"{phase}-{split}-{file}.png"))
            for kind, file in (("ROC", "roc"), ("Confusion matrix", "confusion"))
        ]
        for phase, split in names
    }
    curves = [(f"Curves of {run}, {phase}", results.picture(figures / f"{phase}-curves.png")) for phase in phases]
    return {
        "name": run,
        "settings": settings,
        "policy": policy(params.plans[settings.plan]),
        "parameters": int(layers["parameters"].sum()),
        "constant": any(its["constant"] for splits in phases.values() for its in splits.values()),
        "table": tables.run_table(phases),
        "curves": curves,
        "shown": pictures[headline],
        "more": [picture for name in names if name != headline for picture in pictures[name]],
        "reports": [(figures / f"{phase}-{split}-report.txt").read_text(encoding="utf-8") for phase, split in names],
        "layers": tables.layer_table(layers),
        "report_size": layers["shape"][0],
    }
