"""Checks of params.yaml that concern several keys, or files."""

import re
from pathlib import Path

from pydantic import ValidationError

from cnnstudy.config.labels import folded
from cnnstudy.config.schema import RESERVED, RESERVED_STUDIES, RESERVED_VALUES, SIZES, Params, Source, Study, Training
from cnnstudy.errors import UserError
from cnnstudy.workspace import paths

Contradiction = tuple[str, object, str]


def contradictions(params: Params) -> list[Contradiction]:
    """Return (key, value, allowed) for every value that contradicts other parameters or files."""
    found: list[Contradiction] = []
    chosen = [("profile", "profile", params.profile), *((f"models.{k}", "model", v) for k, v in params.models.items())]
    for key, group, value in chosen:
        known = sorted(file.stem for file in (paths.CONF / group).glob("*.yaml"))
        if known and value not in known:
            found.append((key, value, ", ".join(known)))
    if len(set(params.seeds)) < len(params.seeds):
        found.append(("seeds", params.seeds, "each seed once"))
    recipes = sorted({name for study in params.studies.values() for name in study.choices.recipe})
    if recipes and params.recipe not in recipes:
        found.append(("recipe", params.recipe, f"{', '.join(recipes)}, the recipes of {', '.join(params.studies)}"))
    for key, value in params.data_choices.items():
        study = params.studies.get(key.removesuffix("_data"))
        if study is None:
            found.append((key, value, f"such a key only for one of the studies {', '.join(params.studies)}"))
        elif study.choices.data and value not in study.choices.data:
            found.append((key, value, ", ".join(study.choices.data)))
    for name, study in params.studies.items():
        found += _study_contradictions(name, study)
    if not params.all_runs:
        found.append(("runs", {}, "at least one run"))
    for name in params.pretrained.keys() & params.runs.keys():
        found.append((f"pretrained.{name}", name, "a run that is not under runs too"))
    for name in params.all_runs:
        found += _run_contradictions(params, name)
    return found + _phase_contradictions(params) + _ablation_contradictions(params) + _external_contradictions(params)


def require_classes_alone(params: Params, runs: list[str]) -> None:
    """Refuse runs that do not exist, or that learn values, for commands that compare accuracies.

    Raises:
        UserError: a run is not allowed; the message names it and the runs that are.
    """
    known = [run for run in params.all_runs if not params.task_of(run).has_values]
    if wrong := [run for run in runs if run not in known]:
        raise UserError(f"RUN: {wrong[0]!r} found; allowed: {', '.join(known) or 'no run here learns classes alone'}")


def without_recipe(params: Params) -> list[str]:
    """Return the studies that lack the chosen recipe and so use their default, the recipe `best`."""
    if params.recipe == "best":
        return []
    return [name for name, study in params.studies.items() if params.recipe not in study.choices.recipe]


def _study_contradictions(name: str, study: Study) -> list[Contradiction]:
    found: list[Contradiction] = []
    section, source = f"studies.{name}", study.source
    if name in RESERVED_STUDIES:
        folders = ", ".join(f"data/{each}" for each in RESERVED_STUDIES)
        found.append((section, name, f"any other name: {folders} hold data that studies share"))
    found += _source_contradictions(section, name, source)
    needed = {study.primary_split: "the primary split"} | ({"tune": "to fine-tune on"} if study.finetune else {})
    for split, reason in needed.items():
        for kind, shares in (("synthetic", study.synthetic), ("split", study.split)):
            if shares is not None and not getattr(shares, split, 1) > 0:
                found.append(
                    (f"{section}.{kind}.{split}", 0, f"more than 0: the study needs a {split} split, {reason}")
                )
    if study.split.tune + study.split.test >= 1:
        found.append((f"{section}.split", study.split.model_dump(), "tune + test below 1"))
    if len(study.classes) == 2 and study.positive is None:
        names = " or ".join(study.classes)
        found.append((f"{section}.positive", None, f"{names}, the class that sensitivity is about"))
    if study.positive is not None and (len(study.classes) > 2 or study.positive not in study.classes):
        allowed = ", ".join(study.classes) if len(study.classes) == 2 else "null, since there are more than two classes"
        found.append((f"{section}.positive", study.positive, allowed))
    for value, (low, high) in study.values.items():
        if not low < high:
            found.append((f"{section}.values.{value}", [low, high], "a lower and a higher number"))
        elif study.training.value_activation == "tanh" and (low, high) != (-1.0, 1.0):
            allowed = "linear, since not all values range from -1 to 1"
            found.append((f"{section}.training.value_activation", "tanh", allowed))
        if value in RESERVED_VALUES:
            others = f"any other name; columns of tables are called {', '.join(sorted(RESERVED_VALUES))}"
            found.append((f"{section}.values", value, others))
    if study.unclassed and not study.values:
        found.append((f"{section}.unclassed", study.unclassed, "[], since images without class and values are useless"))
    if study.operating_point is not None and len(study.classes) > 2:
        allowed = "null, since there are more than two classes"
        found.append((f"{section}.operating_point", study.operating_point.model_dump(), allowed))
    return found + _class_contradictions(section, study.classes)


def _source_contradictions(section: str, name: str, source: Source) -> list[Contradiction]:
    found: list[Contradiction] = []
    path = Path(source.path)
    if not path.is_absolute() and not path.resolve().is_relative_to(Path.cwd()):
        allowed = f"a path inside the repository, or the absolute path {str(path.resolve())!r}"
        found.append((f"{section}.source.path", source.path, allowed))
    if written := _overlapping(path, name):
        allowed = f"a folder apart from {written}, where stages write, such as data/raw/{name}"
        found.append((f"{section}.source.path", source.path, allowed))
    if not _is_pattern(source.group.pattern):
        found.append((f"{section}.source.group.pattern", source.group.pattern, "a regular expression"))
    return found


def _overlapping(path: Path, study: str) -> str:
    """Return a folder that stages write to and that contains a source or lies in it; '' if there is none."""
    whole = path.resolve()
    for folder in (f"data/{study}", "models", "metrics", "plots", "exports"):
        written = Path(folder).resolve()
        if whole.is_relative_to(written) or written.is_relative_to(whole):
            return folder
    return ""


def _is_pattern(text: str) -> bool:
    try:
        re.compile(text)
    except re.error:
        return False
    return True


def _class_contradictions(section: str, classes: dict[str, list[str]]) -> list[Contradiction]:
    owners = {folded(name): name for name in classes}
    if taken := RESERVED & set(owners):
        others = f"any other name; rows of tables are called {', '.join(sorted(RESERVED))}"
        return [(f"{section}.classes", min(taken), others)]
    for name, aliases in classes.items():
        seen: set[str] = set()
        for alias in map(folded, aliases):
            if alias in seen or owners.setdefault(alias, name) != name:
                return [(f"{section}.classes.{name}", alias, "each of the source's names under one class, once")]
            seen.add(alias)
    return []


def _run_contradictions(params: Params, name: str) -> list[Contradiction]:
    run = params.all_runs[name]
    if run.study not in params.studies:
        return [(f"runs.{name}.study", run.study, f"a key of studies: {', '.join(params.studies)}")]
    policies = params.studies[run.study].policies
    if run.policy not in policies:
        return [(f"runs.{name}.policy", run.policy, f"a policy of {run.study}: {', '.join(policies)}")]
    if params.task_of(name).has_values:
        if not params.studies[run.study].values:
            return [(f"runs.{name}.task", run.task, f"classification, since studies.{run.study}.values is empty")]
        if policies[run.policy].mixing:
            return [(f"runs.{name}.policy", run.policy, "a policy without mixing, since the run learns values")]
    return _override_contradictions(params, name)


def _override_contradictions(params: Params, run: str) -> list[Contradiction]:
    """Check a run's own settings, which override its study's, against the schema of the study's settings."""
    for key, value in (params.all_runs[run].training or {}).items():
        name = f"runs.{run}.training.{key}"
        if key not in (*Training.model_fields, *SIZES):
            return [(name, value, f"one of the keys {', '.join((*Training.model_fields, *SIZES))}")]
        alone = {run: params.all_runs[run].model_copy(update={"training": {key: value}})}
        only = params.model_copy(update={"runs": alone, "pretrained": {}})
        try:
            only.run_recipe(run)
            only.run_sizes(run)
        except ValidationError as error:
            return [(name, value, error.errors()[0]["msg"].removeprefix("Input should be "))]
    return []


def _phase_contradictions(params: Params) -> list[Contradiction]:
    found: list[Contradiction] = []
    for section in ("finetuned", "exported"):
        for name, entry in getattr(params, section).items():
            if name not in params.all_runs or params.all_runs[name].study != entry.study:
                found.append((f"{section}.{name}", entry.study, "a run, under its own study"))
    for name, entry in params.finetuned.items():
        if entry.study in params.studies:
            study = params.studies[entry.study]
            if entry.policy not in study.policies:
                allowed = f"a policy of {entry.study}: {', '.join(study.policies)}"
                found.append((f"finetuned.{name}.policy", entry.policy, allowed))
            elif name in params.all_runs and params.task_of(name).has_values and study.policies[entry.policy].mixing:
                allowed = "a policy without mixing, since the run learns values"
                found.append((f"finetuned.{name}.policy", entry.policy, allowed))
            if study.finetune is None:
                found.append((f"studies.{entry.study}.finetune", None, f"a section, since {name} is fine-tuned"))
    for name, exported in params.exported.items():
        if name in params.all_runs and exported.phase != params.phases(name)[-1]:
            allowed = f"{params.phases(name)[-1]}, the run's last phase"
            found.append((f"exported.{name}.phase", exported.phase, allowed))
    return found


def _ablation_contradictions(params: Params) -> list[Contradiction]:
    found: list[Contradiction] = []
    for name, ablation in params.ablations.items():
        words = {run: position for run, position in ablation.runs.items() if isinstance(position, str)}
        if 0 < len(words) < len(ablation.runs):
            member, word = next(iter(words.items()))
            found.append((f"ablations.{name}.runs.{member}", word, "a number, or a word for every run"))
        for member in ablation.runs:
            if member not in params.all_runs or params.all_runs[member].study != ablation.study:
                found.append((f"ablations.{name}.runs", member, f"runs of the study {ablation.study}"))
        known = [run for run in ablation.runs if run in params.all_runs]
        if len({params.task_of(run).headline for run in known}) > 1:
            found.append((f"ablations.{name}.runs", known, "runs that all learn values, or none"))
    return found


def _external_contradictions(params: Params) -> list[Contradiction]:
    found: list[Contradiction] = []
    for name, external in params.external.items():
        section = f"external.{name}"
        if external.study not in params.studies:
            found.append((f"{section}.study", external.study, f"a key of studies: {', '.join(params.studies)}"))
        if name in params.studies or name in RESERVED_STUDIES:
            taken = ", ".join((*params.studies, *RESERVED_STUDIES))
            found.append((section, name, f"any other name than {taken}: its images are written to data/{name}"))
        found += _source_contradictions(section, name, external.source)
        known = params.studies[external.study].classes if external.study in params.studies else {}
        if other := [each for each in external.classes or {} if known and each not in known]:
            found.append((f"{section}.classes", ", ".join(other), f"classes of {external.study}: {', '.join(known)}"))
        found += _class_contradictions(section, external.classes or {})
    return found
