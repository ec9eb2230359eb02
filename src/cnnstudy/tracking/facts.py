"""What is recorded of a run: a function of the files that DVC holds, and of where it ran."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from pandas.api.types import is_integer_dtype

from cnnstudy.config.schema import HEADLINE, SIZES, Params, StudyName
from cnnstudy.errors import UserError
from cnnstudy.export import results
from cnnstudy.tracking.keys import locked, md5_tags, read_lock, text_md5
from cnnstudy.workspace import paths

PHASES = ("base", "tuned")


@dataclass(frozen=True)
class Data:
    """A study's data set: a hash of its samples and splits, its file, and what there is of it, as JSON."""

    name: str
    digest: str
    source: str
    profile: str


@dataclass(frozen=True)
class Record:
    """One MLflow run.

    `finals` are metrics without steps, `series` are (metric, value, step). `artifacts` maps a file to the folder it is
    shown in ('' for none). `data` are the data sets that it comes from. `key` says which run it is, `digest` what is
    recorded of it. `parent` is the key of the run it lies under: '' for none, None for that of its branch or DVC
    experiment. `experiment` is MLflow's, '' for the study's own; `status` is what the run ended with, in MLflow's
    words. `where` are tags that say where it ran, and no part of what is recorded of it. `shown` are the artifacts that
    the run's description shows, as MLflow calls them.
    """

    name: str
    study: StudyName
    key: str
    params: dict[str, str]
    tags: dict[str, str]
    finals: dict[str, float]
    series: list[tuple[str, float, int]]
    artifacts: dict[Path, str]
    data: tuple[Data, ...]
    where: dict[str, str]
    parent: str | None = None
    experiment: str = ""
    status: str = "FINISHED"
    shown: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """A hash of everything but `model`: the same run may belong to several selections of models."""
        tags = {name: value for name, value in self.tags.items() if name != "model"}
        files = [(path.as_posix(), folder, path.read_bytes().hex()) for path, folder in self.artifacts.items()]
        content = [self.params, tags, self.finals, self.series, files, *(data.digest for data in self.data), self.shown]
        return text_md5(json.dumps(content, sort_keys=True))


def has_run(params: Params, run: str) -> bool:
    """Whether the workspace has the files that a run's record is made of."""
    histories = [paths.history(paths.seed(run, phase, seed)) for phase in params.phases(run) for seed in params.seeds]
    return all(path.exists() for path in (paths.run_metrics(run), _figures(run), paths.facts(run, "base"), *histories))


def has_ablation(name: str) -> bool:
    """Whether the workspace has the files that an ablation's record is made of."""
    return (paths.ablation_plots(name) / "curve.csv").exists() and paths.ablation_metrics(name).exists()


def has_page() -> bool:
    """Whether the workspace has the page and its numbers."""
    return paths.REPORT.exists() and paths.SUMMARY.exists()


def run_record(params: Params, run: str, key: str, where: dict[str, str], is_exported: bool = False) -> Record:
    """What is recorded of a run, from params.yaml, dvc.lock, metrics, histories and figures.

    Its numbers on phones too, where dvc.lock, or `is_exported`, says that they are of the same net.
    """
    settings = params.runs[run]
    metrics = json.loads(paths.run_metrics(run).read_text(encoding="utf-8"))
    lock, figures = read_lock(), sorted(_figures(run).iterdir())
    artifacts = {path: _folder(path) for path in figures} | {paths.run_metrics(run): ""}
    return Record(
        name=run,
        study=settings.study,
        key=key,
        # What a run says itself, such as its batch, stands over the study's.
        params=_study_settings(params, settings.study) | _run_settings(params, run) | _taken(run),
        tags=_run_tags(params, run) | md5_tags(lock, run, params) | {"constant": str(_is_constant(metrics)).lower()},
        finals=_finals(metrics) | (_export_finals(params, run) if is_exported or _has_exported(lock, run) else {}),
        series=[row for phase in params.phases(run) for row in curves(params, run, phase)],
        artifacts=artifacts,
        data=(data_of(params, settings.study),),
        where=where,
        shown=_shown(artifacts, params.phases(run)[-1], HEADLINE[settings.study]),
    )


def training_record(params: Params, run: str) -> Record:
    """What is recorded of a run while it is trained: all that is known before its first epoch."""
    study = params.runs[run].study
    return Record(
        name=run,
        study=study,
        key="",
        params=_study_settings(params, study) | _run_settings(params, run),
        tags=_run_tags(params, run),
        finals={},
        series=[],
        artifacts={},
        data=(data_of(params, study),),
        where=environment_tags(),
        status="RUNNING",
    )


def ablation_record(params: Params, name: str, where: dict[str, str]) -> Record:
    """What is recorded of an ablation: its tables and figures, and each column of its table along the axis.

    Those of the phase `tuned` are named tuned_<column>.
    """
    ablation = params.ablations[name]
    table = pd.read_csv(paths.ablation_plots(name) / "curve.csv")
    numbers = table.drop(columns="x").select_dtypes("number")
    # A step is a whole number: the position along the axis where all are, else the place.
    steps = table["x"] if is_integer_dtype(table["x"]) else pd.factorize(table["run"])[0]
    files = (*sorted(paths.ablation_plots(name).iterdir()), paths.ablation_metrics(name))
    content = paths.ablation_metrics(name).read_text(encoding="utf-8")
    return Record(
        name=f"ablation: {name}",
        study=ablation.study,
        key=text_md5(f"ablation {name} {content}"),
        params={"axis": ablation.axis, "runs": ", ".join(ablation.runs)} | _study_settings(params, ablation.study),
        tags={"kind": "ablation", "ablation": name} | _study_tags(params, ablation.study),
        finals={},
        series=[
            (str(column) if phase == "base" else f"{phase}_{column}", float(value), int(step))
            for column in numbers
            for step, phase, value in zip(steps, table["phase"], numbers[column], strict=True)
            if pd.notna(value)
        ],
        artifacts=dict.fromkeys(files, ""),
        data=(data_of(params, ablation.study),),
        where=where,
        shown=tuple(file.name for file in files if file.name in ("curve.png", "differences.png")),
    )


def page_record(params: Params, where: dict[str, str]) -> Record:
    """What is recorded of a page: the page itself, and the headline numbers of its runs. Every page is a run."""
    summary = json.loads(paths.SUMMARY.read_text(encoding="utf-8"))
    names = ("model", "profile", "recipe", "faces_data", "xray_data", "batchnorm")
    settings = {name: str(getattr(params, name)) for name in names}
    return Record(
        name="page",
        study=next(iter(params.studies)),
        key=text_md5(f"page {paths.REPORT.read_text(encoding='utf-8')}"),
        params=settings | {"runs": ", ".join(params.runs), "seeds": ", ".join(map(str, params.seeds))},
        tags={"kind": "page"} | settings,
        finals={
            f"{run}/{name}": float(value)
            for run, values in summary.items()
            for name, value in values.items()
            if isinstance(value, int | float)  # others are words about a net that answers one class
        },
        series=[],
        artifacts={paths.REPORT: "", paths.SUMMARY: ""},
        data=tuple(data_of(params, study) for study in params.studies),
        where=where,
        parent="",
        experiment="page",
        shown=(paths.REPORT.name,),
    )


def environment_tags() -> dict[str, str]:
    """Where a run of the workspace ran: commit, branch, whether its code was committed, DVC's experiment and device."""
    # Not params.yaml, which every experiment changes, nor what stages write while they run.
    edited = git("status", "--porcelain", "--", "src", "conf", "dvc.yaml")
    branch, experiment = git("branch", "--show-current"), os.environ.get("DVC_EXP_NAME", "")
    return place_tags(git("rev-parse", "HEAD"), branch, experiment) | ({"git_dirty": "true"} if edited else {})


def place_tags(commit: str, branch: str, experiment: str) -> dict[str, str]:
    """The same of a commit; '' for what there is none of. The device is that of environment.json."""
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
    """The GPUs, or else the CPU, that environment.json says the nets were trained on."""
    if not paths.ENVIRONMENT.is_file():
        return ""
    try:
        found = json.loads(paths.ENVIRONMENT.read_text(encoding="utf-8"))
    except ValueError:
        raise UserError(f"{paths.ENVIRONMENT}: not JSON; `git checkout {paths.ENVIRONMENT}` writes it anew") from None
    return ", ".join(found["gpus"]) or str(found["cpu"] or found["machine"])


def parent_name(where: dict[str, str]) -> str:
    """What the runs of one experiment, or else of one branch, lie under."""
    return where.get("dvc_experiment") or where.get("git_branch") or "no branch"


def git(*arguments: str) -> str:
    """What git prints, or '' where it can't."""
    try:
        return subprocess.run(["git", *arguments], capture_output=True, text=True, check=False).stdout.strip()
    except OSError:  # no git
        return ""


def _figures(run: str) -> Path:
    return paths.run_plots(run) / "figures"


def _shown(artifacts: dict[Path, str], phase: str, split: str) -> tuple[str, ...]:
    """The pictures that stand for a run."""
    wanted = (f"{split}-confusion", f"{split}-roc", "curves")
    present = {path.name for path in artifacts}
    return tuple(f"{phase}/{phase}-{name}.png" for name in wanted if f"{phase}-{name}.png" in present)


def _folder(figure: Path) -> str:
    """A figure's phase, which its name begins with, or '' for one that belongs to none."""
    phase = figure.name.split("-")[0]
    return phase if phase in PHASES else ""


def _finals(metrics: dict[str, dict[str, dict[str, Any]]]) -> dict[str, float]:
    return {
        f"{phase}/{split}_{name}": float(value)
        for phase, splits in metrics.items()
        for split, numbers in splits.items()
        for name, value in numbers.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def _has_exported(lock: dict[str, Any], run: str) -> bool:
    """Whether the nets for phones were made of the net that is there: until their stage is done they are another's."""
    tuned = paths.phase(run, "tuned")
    return locked(lock, f"export@{run}", tuned) == locked(lock, f"finetune@{run}", tuned)


def _export_finals(params: Params, run: str) -> dict[str, float]:
    """export/<precision>/<metric> of a run's nets for phones, as far as the workspace has them."""
    if run not in params.finetuned or not paths.export_metrics(run).is_file():
        return {}
    numbers = results.read_numbers(run)
    return {f"export/{each}/{name}": value for each, its in numbers.items() for name, value in its.items()}


def curves(params: Params, run: str, phase: str) -> list[tuple[str, float, int]]:
    """Per-epoch values: the mean over the seeds and, of several, each."""
    each = {seed: pd.read_csv(paths.history(paths.seed(run, phase, seed))) for seed in params.seeds}
    mean = pd.DataFrame(pd.concat(each.values()).groupby("epoch", as_index=False).mean())
    tables = {f"{phase}/epoch": mean} | {seed_section(params, phase, seed): table for seed, table in each.items()}
    return [point for section, table in tables.items() for row in _rows(table) for point in epoch_points(section, row)]


def _rows(table: pd.DataFrame) -> list[dict[str, float]]:
    rows: list[dict[str, float]] = table.to_dict("records")
    return rows


def seed_section(params: Params, phase: str, seed: int) -> str:
    """What the names of one training's per-epoch metrics begin with; where it is the only one, they are the mean's."""
    return f"{phase}/epoch" if len(params.seeds) == 1 else f"{phase}/epoch/seed{seed}"


def epoch_points(section: str, row: dict[str, float]) -> list[tuple[str, float, int]]:
    """An epoch of a history as (metric, value, step)."""
    return [(f"{section}/{name}", float(value), int(row["epoch"])) for name, value in row.items() if name != "epoch"]


def _is_constant(metrics: dict[str, dict[str, dict[str, Any]]]) -> bool:
    """Whether some split got one answer for every image."""
    return any(numbers.get("constant", False) for splits in metrics.values() for numbers in splits.values())


def _taken(run: str) -> dict[str, str]:
    """What the base phase's training took from its machine, such as its precision."""
    content: dict[str, Any] = json.loads(paths.facts(run, "base").read_text(encoding="utf-8"))
    return {name: str(value) for name, value in content.items()}


def _run_settings(params: Params, run: str) -> dict[str, str]:
    settings = params.runs[run]
    plan = params.plan_of(run).model_dump()
    own = settings.model_dump(exclude={"study", "training"}, exclude_none=True)
    own |= {key if key in SIZES else f"training.{key}": value for key, value in settings.training.items()}
    return {name: str(value) for name, value in (own | {f"plan.{key}": value for key, value in plan.items()}).items()}


def _study_settings(params: Params, name: StudyName) -> dict[str, str]:
    study = params.study(name).model_dump(
        include={
            "image_size",
            "batch_size",
            "epochs",
            "tuned_epochs",
            "tuned_learning_rate",
            "tuned_frozen",
            "class_weight",
        }
    )
    settings = {
        **study,
        **{f"split.{key}": value for key, value in params.study(name).split},
        **{f"training.{key}": value for key, value in params.study_recipe(name)},
        "batchnorm": params.batchnorm,
        "classes": ", ".join(params.study(name).classes),
        "seeds": ", ".join(map(str, params.seeds)),
        "data_seed": params.data_seed,
        "split_seed": params.split_seed,
        "threads": params.compute.threads,
        "source": params.source(name).format,
    }
    return {key: str(value) for key, value in settings.items()}


def _run_tags(params: Params, run: str) -> dict[str, str]:
    settings = params.runs[run]
    tags = {
        "kind": "run",
        "run": run,
        **settings.model_dump(include={"net", "depth", "widths", "plan"}, exclude_none=True),
        "level": params.plan_of(run).level,
        "phases": ", ".join(params.phases(run)),
        **{f"ablation.{name}": "true" for name, ablation in params.ablations.items() if run in ablation.runs},
    }
    return {name: str(value) for name, value in tags.items()} | _study_tags(params, settings.study)


def _study_tags(params: Params, study: StudyName) -> dict[str, str]:
    return {
        "study": study,
        "model": params.model,
        "profile": params.profile,
        "recipe": params.recipe,
        f"{study}_data": params.faces_data if study == "faces" else params.xray_data,
        "batchnorm": params.batchnorm,
        "seeds": ", ".join(map(str, params.seeds)),
        **_audit_tags(study),
    }


def _audit_tags(study: StudyName) -> dict[str, str]:
    """How many severe findings and warnings the audit had on the data as it is used, and the checks they belong to."""
    if not paths.audit(study).is_file():
        return {}
    found = json.loads(paths.audit(study).read_text(encoding="utf-8"))["findings"]["as it is used"]
    checks = {level: [each["check"] for each in found if each["severity"] == level] for level in ("severe", "warning")}
    return {f"audit.{level}": ", ".join(dict.fromkeys(names)) or "none" for level, names in checks.items()}


def data_of(params: Params, study: StudyName) -> Data:
    """A study's data set as it lies in the workspace."""
    samples, splits = (path.read_text(encoding="utf-8") for path in (paths.samples(study), paths.splits(study)))
    counts = pd.read_csv(paths.splits(study))["split"].value_counts().sort_index()
    profile = {"images": int(counts.sum()), **{str(split): int(count) for split, count in counts.items()}}
    source = {"uri": paths.images(study).as_posix(), "format": params.source(study).format}
    return Data(study, text_md5(samples + splits)[:12], json.dumps(source), json.dumps(profile))
