"""Records for MLflow, built from the files in DVC and from where a run was made: commit, experiment and device."""

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import stdev
from typing import Any

import pandas as pd
from pandas.api.types import is_integer_dtype

from cnnstudy.config.compose import choices
from cnnstudy.config.schema import SIZES, Params
from cnnstudy.errors import UserError
from cnnstudy.export import results
from cnnstudy.external import results as external
from cnnstudy.occlusion import results as occlusion
from cnnstudy.tracking.keys import OWN, RunIdentity, locked, md5_tags, read_lock, text_md5, training_stage
from cnnstudy.tracking.times import Times
from cnnstudy.tracking.times import read as read_times
from cnnstudy.workspace import paths

PHASES = ("base", "tuned")
# The accuracy, the mean CCC of a run that learns values, and the ends of their intervals.
HEADLINE = ("accuracy", "accuracy_low", "accuracy_high", "ccc", "ccc_low", "ccc_high")
# Columns of the tables of published numbers.
PUBLISHED = ("study", "run", "phase", "split", "class", "metric", "value", "source")


@dataclass(frozen=True)
class Data:
    """A split of a study's data set: a hash of its samples, where they come from and how many there are, as JSON."""

    name: str
    split: str
    digest: str
    source: str
    profile: str


@dataclass(frozen=True)
class Record:
    """One MLflow run.

    `key` identifies the run, and `model` is the md5 of the trained models, '' if there are none: the same key with
    another model is another run. `finals` are metrics without steps, `series` are (metric, value, step). `artifacts`
    maps a file to the folder it is shown in ('' for none), `texts` maps a file's name to its content. `data` are the
    splits used. `where` are tags that say where it ran; they are not part of `digest`. `sentence` states the result in
    words, and `shown` are the paths in MLflow of the artifacts in the description. `parent` is the key of the parent
    run, '' for none. `experiment` is the MLflow experiment, '' for the study's own, and `about` its description.
    `script` is the stage that made the run. `status` is MLflow's name for its state. `times` is None if unknown.
    `children` are the trainings, one per seed, whose mean the run reports. `has_values` says whether a run
    of the study learns values, so that its runs are compared by their CCC.
    """

    name: str
    study: str
    key: str
    params: dict[str, str]
    tags: dict[str, str]
    finals: dict[str, float]
    series: list[tuple[str, float, int]]
    artifacts: dict[Path, str]
    data: tuple[Data, ...]
    where: dict[str, str]
    model: str = ""
    texts: dict[str, str] = field(default_factory=dict)
    sentence: str = ""
    shown: tuple[str, ...] = ()
    parent: str = ""
    experiment: str = ""
    about: str = ""
    script: str = ""
    status: str = "FINISHED"
    times: Times | None = None
    children: "tuple[Record, ...]" = ()
    has_values: bool = False

    @property
    def identity(self) -> tuple[str, str]:
        """The key and the model hash, which identify the run."""
        return self.key, self.model

    def data_of(self, split: str) -> Data:
        """Return one of the splits."""
        return next(each for each in self.data if each.split == split)

    @property
    def digest(self) -> str:
        """A hash of the recorded content, without its times, which only the training machine knows."""
        files = [(path.as_posix(), folder, path.read_bytes().hex()) for path, folder in self.artifacts.items()]
        content = [self.params, self.tags, self.finals, self.series, files, self.texts, self.sentence, self.shown]
        content += [[each.split, each.digest] for each in self.data] + [each.digest for each in self.children]
        return text_md5(json.dumps(content, sort_keys=True))


def has_run(params: Params, run: str) -> bool:
    """Return whether the workspace has the files for a run's record."""
    histories = [paths.history(paths.seed(run, phase, seed)) for phase in params.phases(run) for seed in params.seeds]
    return all(path.exists() for path in (paths.run_metrics(run), _figures(run), paths.facts(run, "base"), *histories))


def has_ablation(name: str) -> bool:
    """Return whether the workspace has the files for an ablation's record."""
    return (paths.ablation_plots(name) / "curve.csv").exists() and paths.ablation_metrics(name).exists()


def has_page() -> bool:
    """Return whether the workspace has the page and its numbers."""
    return paths.REPORT.exists() and paths.SUMMARY.exists()


def run_record(params: Params, run: str, its: RunIdentity, where: dict[str, str], is_exported: bool = False) -> Record:
    """Return the record of a run, from params.yaml, dvc.lock, metrics, histories and figures.

    It includes the numbers of the LiteRT files if dvc.lock, or `is_exported`, says that they are of the same net.
    """
    settings, phase = params.all_runs[run], params.phases(run)[-1]
    metrics = json.loads(paths.run_metrics(run).read_text(encoding="utf-8"))
    split = params.studies[settings.study].primary_split
    lock, figures = read_lock(), sorted(_figures(run).iterdir())
    has_export = is_exported or _has_exported(lock, params, run)
    artifacts = {path: _folder(path) for path in figures} | {paths.run_metrics(run): ""}
    report, of = _published(params, run, phase)
    planned = training_record(params, run, its.key, where)
    finals = _headline(metrics[phase][split], params.values_of(run))
    sentence = _sentence(f"{run}, {phase}", finals, split)
    printed = f"; the course report has {' or '.join(f'{each:g}' for each in report)} ({of})" if report else ""
    whole = replace(
        planned,
        model=its.model,
        params=planned.params | _taken(run),
        tags=planned.tags | md5_tags(lock, run, params) | _md5s(its) | {"constant": str(_is_constant(metrics)).lower()},
        finals=finals | ({"accuracy_report": report[0]} if report else {}) | _elsewhere(params, run, its),
        series=[row for each in params.phases(run) for row in curves(run, each, params.seeds)],
        artifacts=artifacts,
        texts=_export_texts(params, run) if has_export else {},
        sentence=f"{sentence}{printed}.",
        shown=_shown(artifacts, phase, split),
        status="FINISHED",
        times=read_times(its.models.values()),
    )
    return replace(whole, children=_seed_records(params, whole, metrics[phase][split]))


def training_record(params: Params, run: str, key: str, where: dict[str, str]) -> Record:
    """Return the record of a run in training: everything known before its first epoch."""
    study = params.all_runs[run].study
    return Record(
        name=run,
        study=study,
        key=key,
        # A run's own settings, such as its batch size, override the study's.
        params=_study_settings(params, study) | _run_settings(params, run),
        tags=_run_tags(params, run),
        finals={},
        series=[],
        artifacts={},
        data=data_of(params, study),
        where=where,
        script="src/train.py",
        about=_about(params, study),
        status="RUNNING",
        has_values=_has_values(params, study),
    )


def _has_values(params: Params, study: str) -> bool:
    return any(params.task_of(run).has_values for run in params.runs_of(study))


def seed_record(params: Params, whole: Record, seed: int) -> Record:
    """Return the record of one of a run's seeds in training."""
    run = whole.tags["run"]
    return replace(
        whole,
        name=f"{run}, seed {seed}",
        key=f"{whole.key}-{seed}",
        params={"seed": str(seed)},
        tags={**_study_tags(params, whole.study), "kind": "seed", "run": run, "seed": str(seed)},
        finals={},
        series=[],
        artifacts={},
        texts={},
        sentence=f"One training of {run}, with seed {seed}; its parent run has the mean of all seeds.",
        shown=(),
        parent=whole.key,
    )


def _seed_records(params: Params, whole: Record, numbers: dict[str, Any]) -> tuple[Record, ...]:
    """Return a record for each seed of a run with several."""
    run, seeds = whole.tags["run"], params.seeds
    return tuple(
        replace(
            seed_record(params, whole, seed),
            finals={
                name: numbers[f"{name}_seeds"][place] for name in ("accuracy", "ccc") if f"{name}_seeds" in numbers
            },
            series=[row for phase in params.phases(run) for row in curves(run, phase, (seed,))],
        )
        for place, seed in enumerate(seeds)
        if len(seeds) > 1
    )


def ablation_record(params: Params, name: str, where: dict[str, str]) -> Record:
    """Return the record of an ablation: the accuracy of each run's last phase along the axis, the table and figures.

    The metrics without an axis are the best run's, by CCC where the runs learn values, else by accuracy.
    """
    ablation = params.ablations[name]
    split = params.studies[ablation.study].primary_split
    table = pd.read_csv(paths.ablation_plots(name) / "curve.csv").drop_duplicates("run", keep="last")
    table = table.rename(columns={f"{split}_{column}": column for column in HEADLINE}).reset_index(drop=True)
    # A step must be a whole number: the position on the axis if all are whole numbers, else the row number.
    steps = table["x"] if is_integer_dtype(table["x"]) else table.index
    best = table.loc[table["ccc" if "ccc" in table else "accuracy"].idxmax()]
    finals = {column: float(best[column]) for column in HEADLINE if column in table and pd.notna(best[column])}
    at = f"{best['run']}, {best['phase']}" + (f", at {best['x']}" if str(best["x"]) != best["run"] else "")
    files = (*sorted(paths.ablation_plots(name).iterdir()), paths.ablation_metrics(name))
    content = paths.ablation_metrics(name).read_text(encoding="utf-8")
    return Record(
        name=f"ablation: {name}",
        study=ablation.study,
        key=text_md5(f"ablation {name} {content}"),
        params={"axis": ablation.axis, "runs": ", ".join(ablation.runs), "split": split},
        tags={"kind": "ablation", "ablation": name, "axis": ablation.axis, "best": str(best["run"])}
        | _study_tags(params, ablation.study),
        finals=finals,
        series=[
            (f"axis/{column}", float(value), int(step))
            for column in HEADLINE
            if column in table
            for step, value in zip(steps, table[column], strict=True)
            if pd.notna(value)
        ],
        artifacts=dict.fromkeys(files, ""),
        data=data_of(params, ablation.study),
        where=where,
        script="src/ablate.py",
        about=_about(params, ablation.study),
        has_values=_has_values(params, ablation.study),
        sentence=_sentence(f"Along the axis {ablation.axis}, the best of {len(table)} is {at}", finals, split) + ".",
        shown=tuple(file.name for file in files if file.name in ("curve.png", "differences.png")),
    )


def page_record(params: Params, where: dict[str, str]) -> Record:
    """Return the record of a page, which is a run of its own: the page itself and its number of runs."""
    settings = choices(params) | {"batchnorm": params.batchnorm}
    runs = list(params.all_runs)
    return Record(
        name="page",
        study=next(iter(params.studies)),
        key=text_md5(f"page {paths.REPORT.read_text(encoding='utf-8')}"),
        params=settings | {"runs": ", ".join(runs), "seeds": ", ".join(map(str, params.seeds))},
        tags={"kind": "page"} | settings,
        finals={"runs": float(len(runs))},
        series=[],
        artifacts={paths.REPORT: "", paths.SUMMARY: ""},
        data=tuple(each for study in params.studies for each in data_of(params, study)),
        where=where,
        script="src/report.py",
        experiment="page",
        about="Every version of the page with all results, a run each: its artifact index.html is the page.",
        sentence=f"The page with the results of {len(runs)} runs: {', '.join(params.studies)}.",
        shown=(paths.REPORT.name,),
    )


def environment_tags() -> dict[str, str]:
    """Return the tags of the workspace: commit, branch, uncommitted code, DVC experiment and device."""
    # Not params.yaml, which every experiment changes, nor what stages write while they run.
    edited = git("status", "--porcelain", "--", "src", "conf", "dvc.yaml")
    branch, experiment = git("branch", "--show-current"), os.environ.get("DVC_EXP_NAME", "")
    return place_tags(git("rev-parse", "HEAD"), branch, experiment) | ({"git_dirty": "true"} if edited else {})


def place_tags(commit: str, branch: str, experiment: str) -> dict[str, str]:
    """Return the tags of a commit, without empty ones. The device is read from environment.json."""
    tags = {
        "git_commit": commit,
        "mlflow.source.git.commit": commit,
        "git_branch": branch,
        "git_dirty": "false" if commit else "",
        "dvc_experiment": experiment,
        "device": _device(),
    }
    return {name: value for name, value in tags.items() if value}


def _device() -> str:
    """Return the GPUs, or else the CPU, of the training, from environment.json."""
    if not paths.ENVIRONMENT.is_file():
        return ""
    try:
        found = json.loads(paths.ENVIRONMENT.read_text(encoding="utf-8"))
    except ValueError:
        raise UserError(f"{paths.ENVIRONMENT}: not JSON; `git checkout {paths.ENVIRONMENT}` restores it") from None
    return ", ".join(found["gpus"]) or str(found["cpu"] or found["machine"])


def git(*arguments: str) -> str:
    """Return git's output, or '' where git fails."""
    try:
        return subprocess.run(["git", *arguments], capture_output=True, text=True, check=False).stdout.strip()
    except OSError:  # no git
        return ""


def _figures(run: str) -> Path:
    return paths.run_plots(run) / "figures"


def _shown(artifacts: dict[Path, str], phase: str, split: str) -> tuple[str, ...]:
    """Return the figures in a run's description."""
    wanted = (f"{split}-values", f"{split}-confusion", f"{split}-roc", "curves")
    present = {path.name for path in artifacts}
    return tuple(f"{phase}/{phase}-{name}.png" for name in wanted if f"{phase}-{name}.png" in present)


def _folder(figure: Path) -> str:
    """Return the phase with which a figure's name begins, or ''."""
    phase = figure.name.split("-")[0]
    return phase if phase in PHASES else ""


def _headline(numbers: dict[str, Any], values: tuple[str, ...]) -> dict[str, float]:
    """Return a run's headline metrics: accuracy, mean CCC and CCC and RMSE of each value, as far as it has them.

    Accuracy and mean CCC come with their intervals and the spread over several seeds.
    """
    wanted = (*HEADLINE, *(f"{value}_{score}" for value in values for score in ("ccc", "rmse")))
    found = {name: float(numbers[name]) for name in wanted if name in numbers}
    each = {name: numbers.get(f"{name}_seeds", []) for name in ("accuracy", "ccc")}
    return found | {f"{name}_spread": stdev(seeds) for name, seeds in each.items() if len(seeds) > 1}


def _elsewhere(params: Params, run: str, its: RunIdentity) -> dict[str, float]:
    """Return the accuracy of a run's last phase on external test sets, and with parts of the images hidden.

    Only results of these models count.
    """
    found = external.of_run(params, run, its.models)
    hidden, split = occlusion.of_run(params, run, its.models), params.study_of(run).primary_split
    return {f"external/{name}/accuracy": float(each["accuracy"]) for name, each in found.items()} | {
        f"occlusion/{name}/accuracy": float(each["splits"][split]["accuracy"]) for name, each in hidden.items()
    }


def _sentence(subject: str, finals: dict[str, float], split: str) -> str:
    """Return a run's result in words."""
    told = []
    for name, word in (("ccc", "mean CCC"), ("accuracy", "accuracy")):
        if name in finals:
            bounds = (
                f" ({finals[f'{name}_low']:.3f} to {finals[f'{name}_high']:.3f})" if f"{name}_low" in finals else ""
            )
            told.append(f"{word} {finals[name]:.3f} on {split}{bounds}")
    return f"{subject}: {', '.join(told)}"


def _published(params: Params, run: str, phase: str) -> tuple[list[float], str]:
    """Return the accuracies of a run in the course report, with their phases and splits.

    They are for our last phase if the report has it, else for the base phase, and for our primary split, else for val.
    """
    found = [pd.read_csv(path, dtype=str, keep_default_na=False) for path in sorted(paths.REFERENCE.glob("*.csv"))]
    tables = [table for table in found if set(PUBLISHED) <= set(table)]
    if not tables:
        return [], ""
    cells = {"study": params.all_runs[run].study, "run": run, "class": "", "metric": "accuracy", "source": "report"}
    rows = pd.concat(tables).loc[lambda table: (table[list(cells)] == pd.Series(cells)).all(axis=1)]
    for each in dict.fromkeys((phase, "base")):
        for split in (params.study_of(run).primary_split, "val"):
            its = rows[(rows["phase"] == each) & (rows["split"] == split)]
            if len(its):
                return its["value"].astype(float).tolist(), f"{each}, {split}"
    return [], ""


def _about(params: Params, study: str) -> str:
    """Return the description of an MLflow experiment: the study, its limits, and what its nets must not be used for."""
    its = params.studies[study]
    return " ".join(
        filter(None, [f"{its.title}: a run for each net, and one for each ablation.", its.limits, its.not_for])
    )


def _has_exported(lock: dict[str, Any], params: Params, run: str) -> bool:
    """Return whether, by dvc.lock, the LiteRT files were made from the weights of the last training."""
    phase = params.phases(run)[-1]
    weights = paths.phase(run, phase)
    return locked(lock, params.stage("export", run), weights) == locked(
        lock, training_stage(params, run, phase), weights
    )


def _export_texts(params: Params, run: str) -> dict[str, str]:
    """Return export.json: the measures of a run's LiteRT files by precision, if the workspace has them."""
    if run not in params.exported or not paths.export_metrics(run).is_file():
        return {}
    return {"export.json": json.dumps(results.read_numbers(run), indent=2) + "\n"}


def curves(run: str, phase: str, seeds: Sequence[int]) -> list[tuple[str, float, int]]:
    """Return each metric by epoch, as its mean over `seeds`."""
    each = [pd.read_csv(paths.history(paths.seed(run, phase, seed))) for seed in seeds]
    mean = each[0] if len(each) == 1 else pd.DataFrame(pd.concat(each).groupby("epoch", as_index=False).mean())
    return [point for row in _rows(mean) for point in epoch_points(phase, row)]


def _rows(table: pd.DataFrame) -> list[dict[str, float]]:
    rows: list[dict[str, float]] = table.to_dict("records")
    return rows


def epoch_points(phase: str, row: dict[str, float]) -> list[tuple[str, float, int]]:
    """Return an epoch of a history as (metric, value, step)."""
    return [(f"{phase}/{name}", float(value), int(row["epoch"])) for name, value in row.items() if name != "epoch"]


def _is_constant(metrics: dict[str, dict[str, dict[str, Any]]]) -> bool:
    """Return whether all predictions for some split are the same class."""
    return any(numbers.get("constant", False) for splits in metrics.values() for numbers in splits.values())


def _md5s(its: RunIdentity) -> dict[str, str]:
    """Return tags with the MD5 hashes of a run's models."""
    return {f"{OWN}model_md5.{phase}": md5 for phase, md5 in its.models.items()}


def _taken(run: str) -> dict[str, str]:
    """Return the machine settings of the base phase's training, such as the precision."""
    content: dict[str, Any] = json.loads(paths.facts(run, "base").read_text(encoding="utf-8"))
    return {name: str(value) for name, value in content.items()}


def _run_settings(params: Params, run: str) -> dict[str, str]:
    settings = params.all_runs[run]
    own: dict[str, Any] = {"net": settings.net, "policy": settings.policy}
    own |= {f"options.{key}": value for key, value in params.options_of(run).items()}
    own |= {key if key in SIZES else f"training.{key}": value for key, value in (settings.training or {}).items()}
    own |= {f"policy.{key}": value for key, value in params.policy_of(run)}
    return {name: str(value) for name, value in own.items()}


def _study_settings(params: Params, name: str) -> dict[str, str]:
    study = params.studies[name]
    settings = {
        **study.model_dump(include={"image_size", "batch_size", "epochs", "class_weight", "primary_split"}),
        **{f"finetune.{key}": value for key, value in study.finetune or ()},
        **{f"split.{key}": value for key, value in study.split},
        **{f"training.{key}": value for key, value in study.training},
        "batchnorm": params.batchnorm,
        "classes": ", ".join(study.classes),
        "seeds": ", ".join(map(str, params.seeds)),
        "data_seed": params.data_seed,
        "split_seed": params.split_seed,
        "threads": params.compute.threads,
        "source": study.source.format,
    }
    return {key: str(value) for key, value in settings.items()}


def _run_tags(params: Params, run: str) -> dict[str, str]:
    settings = params.all_runs[run]
    ablations = {f"ablation.{name}": "true" for name, ablation in params.ablations.items() if run in ablation.runs}
    its = {"kind": "net", "run": run, "net": settings.net, "policy": settings.policy}
    its |= {"task": settings.task} if settings.task != "classification" else {}
    return its | ablations | _study_tags(params, settings.study)


def _study_tags(params: Params, study: str) -> dict[str, str]:
    return {
        "study": study,
        "profile": params.profile,
        "recipe": params.recipe,
        "data": params.studies[study].data or params.studies[study].source.format,
        **_audit_tags(study),
    }


def _audit_tags(study: str) -> dict[str, str]:
    """Return tags that name the checks with severe findings or warnings in the audit of the data as used."""
    if not paths.audit(study).is_file():
        return {}
    found = json.loads(paths.audit(study).read_text(encoding="utf-8"))["findings"]["used"]
    checks = {level: [each["check"] for each in found if each["severity"] == level] for level in ("severe", "warning")}
    return {f"audit.{level}": ", ".join(dict.fromkeys(names)) or "none" for level, names in checks.items()}


def data_of(params: Params, study: str) -> tuple[Data, ...]:
    """Return the splits of a study's data set in the workspace."""
    splits = pd.read_csv(paths.splits(study), dtype=str, keep_default_na=False)
    samples = pd.read_csv(paths.samples(study), dtype=str, keep_default_na=False)
    table = samples.merge(splits, on="id", validate="one_to_one")
    source = {"uri": paths.images(study).as_posix(), "format": params.studies[study].source.format}
    found = []
    for split, rows in table.groupby("split"):
        profile = {"images": len(rows)} | {
            str(label): int(n) for label, n in rows["label"].value_counts().sort_index().items()
        }
        digest = text_md5(rows.to_csv(index=False))[:12]
        found.append(Data(study, str(split), digest, json.dumps(source), json.dumps(profile)))
    return tuple(found)
