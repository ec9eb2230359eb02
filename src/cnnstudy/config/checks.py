"""Rules of params.yaml that concern several keys, or files."""

from pathlib import Path

from pydantic import ValidationError

from cnnstudy.config.schema import RESERVED, SIZES, Params, Training
from cnnstudy.workspace import paths


def contradictions(params: Params) -> list[tuple[str, object, str]]:
    """(key, value, what is allowed) of every value that fits its type but not the rest."""
    found: list[tuple[str, object, str]] = []
    for group in ("model", "profile", "recipe", "faces_data", "xray_data"):
        choices = sorted(file.stem for file in (paths.CONF / group).glob("*.yaml"))
        if choices and getattr(params, group) not in choices:
            found.append((group, getattr(params, group), ", ".join(choices)))
    if len(set(params.seeds)) < len(params.seeds):
        found.append(("seeds", params.seeds, "each seed once"))
    return found + _data_contradictions(params) + _run_contradictions(params)


def _data_contradictions(params: Params) -> list[tuple[str, object, str]]:
    found: list[tuple[str, object, str]] = []
    for name, study in params.studies.items():
        source, sizes = params.source(name), params.study(name)
        needed = "tune" if name == "faces" else "test"
        if study.path != source.path:
            found.append((f"studies.{name}.path", study.path, f"the value of sources.{name}.path, {source.path!r}"))
        path = Path(source.path)
        if not path.is_absolute() and not path.resolve().is_relative_to(Path.cwd()):
            allowed = f"a path inside the repository, or the absolute path {str(path.resolve())!r}"
            found.append((f"sources.{name}.path", source.path, allowed))
        for section in ("drawn", "split"):
            if not getattr(getattr(sizes, section), needed) > 0:
                found.append((f"{name}.{section}.{needed}", 0, f"more than 0: the study needs a {needed} split"))
        if sizes.split.tune + sizes.split.test >= 1:
            found.append((f"{name}.split", sizes.split.model_dump(), "tune + test below 1"))
        found += _class_contradictions(name, sizes.classes)
    return found


def _class_contradictions(study: str, classes: dict[str, list[str]]) -> list[tuple[str, object, str]]:
    owners = {name.casefold(): name for name in classes}
    if taken := RESERVED & set(owners):
        others = f"any other name; rows of tables are called {', '.join(sorted(RESERVED))}"
        return [(f"{study}.classes", min(taken), others)]
    for name, aliases in classes.items():
        seen: set[str] = set()
        for alias in map(str.casefold, aliases):
            if alias in seen or owners.setdefault(alias, name) != name:
                return [(f"{study}.classes.{name}", alias, "each name of a source under one class, once")]
            seen.add(alias)
    return []


def _run_contradictions(params: Params) -> list[tuple[str, object, str]]:
    found: list[tuple[str, object, str]] = []
    if set(params.plans) != set(params.studies):
        found.append(("plans", list(params.plans), f"the keys of studies: {', '.join(params.studies)}"))
    for section in ("runs", "finetuned", "ablations"):
        for name, entry in getattr(params, section).items():
            if entry.study not in params.studies:
                found.append((f"{section}.{name}.study", entry.study, f"a key of studies: {', '.join(params.studies)}"))
    for section in ("runs", "finetuned"):
        for name, entry in getattr(params, section).items():
            plans = params.plans.get(entry.study, {})
            if entry.plan not in plans:
                found.append((f"{section}.{name}.plan", entry.plan, f"a plan of {entry.study}: {', '.join(plans)}"))
    for name, run in params.runs.items():
        is_xray = run.net == "xraynet"
        if is_xray != (run.study == "xray"):
            nets = "xraynet" if run.study == "xray" else "alexnet, vggnet, mobilenet"
            found.append((f"runs.{name}.net", run.net, f"a net of the study {run.study}: {nets}"))
        for key in ("depth", "widths"):
            if is_xray != (getattr(run, key) is not None):
                found.append((f"runs.{name}.{key}", getattr(run, key), "a value for xraynet, none for other nets"))
        found += _override_contradictions(params, name)
    for name, entry in params.finetuned.items():
        if name not in params.runs or params.runs[name].study != entry.study or entry.study != "faces":
            found.append((f"finetuned.{name}", entry.study, "a run of the study faces, under its own study"))
    for name, ablation in params.ablations.items():
        words = {run: position for run, position in ablation.runs.items() if isinstance(position, str)}
        if 0 < len(words) < len(ablation.runs):
            member, word = next(iter(words.items()))
            found.append((f"ablations.{name}.runs.{member}", word, "a number, or a word for every run"))
        for member in ablation.runs:
            if member not in params.runs or params.runs[member].study != ablation.study:
                found.append((f"ablations.{name}.runs", member, f"runs of the study {ablation.study}"))
    return found


def _override_contradictions(params: Params, run: str) -> list[tuple[str, object, str]]:
    """Check what a run sets itself against the schema of its study's settings, which it stands over."""
    for key, value in params.runs[run].training.items():
        name = f"runs.{run}.training.{key}"
        if key not in (*Training.model_fields, *SIZES):
            return [(name, value, f"one of the keys {', '.join((*Training.model_fields, *SIZES))}")]
        alone = {run: params.runs[run].model_copy(update={"training": {key: value}})}
        only = params.model_copy(update={"runs": alone})
        try:
            only.run_recipe(run)
            only.run_sizes(run)
        except ValidationError as error:
            return [(name, value, error.errors()[0]["msg"].removeprefix("Input should be "))]
    return []
