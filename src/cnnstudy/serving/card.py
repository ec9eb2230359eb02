"""The model card of a promoted net: what it was trained on, what it is for and not for, how good it is, and its limits.

After Mitchell et al. 2019, Model cards for model reporting (arXiv:1810.03993).
"""

import json

from cnnstudy.config.schema import Params
from cnnstudy.evaluation import results
from cnnstudy.occlusion import results as occlusion
from cnnstudy.serving.choice import Choice
from cnnstudy.tracking import build
from cnnstudy.tracking.keys import directory_md5
from cnnstudy.workspace import paths

NAME = "README.md"


def numbers(params: Params, choice: Choice) -> dict[str, float]:
    """Return the accuracy, or the CCC, of one training on the primary split; with intervals if the run has one seed."""
    content = json.loads(paths.run_metrics(choice.run).read_text(encoding="utf-8"))
    its = content[choice.phase][params.study_of(choice.run).primary_split]
    if len(params.seeds) == 1:
        return {name: float(its[name]) for name in build.HEADLINE if name in its}
    place = params.seeds.index(choice.seed)
    return {name: float(its[f"{name}_seeds"][place]) for name in ("accuracy", "ccc") if f"{name}_seeds" in its}


def text(params: Params, choice: Choice, classes: tuple[str, ...], record: build.Record) -> str:
    """Return the card, in Markdown."""
    study, found = params.study_of(choice.run), numbers(params, choice)
    titles = {"accuracy": "Accuracy", "ccc": "Mean concordance correlation coefficient (CCC)"}
    quality = {title: _number(found, name, study.primary_split) for name, title in titles.items() if name in found}
    sections = {
        "Intended use": _use(params, choice, classes),
        **quality,
        "Accuracy by subgroup": _subgroups(params, choice),
        "Accuracy without the evidence": _without_evidence(params, choice),
        "Data": _data(params, record),
        "Limits": " ".join(filter(None, [study.not_for, study.limits])) or "None are known, but there may be some.",
        "Images unlike the training images": _unlike(params, record.study),
        "What the audit of the data found": _findings(record.study),
        "Training": _training(record),
    }
    title = f"# {study.title}: {choice}"
    return "\n\n".join([title, *(f"## {name}\n\n{content}" for name, content in sections.items())]) + "\n"


def _number(found: dict[str, float], name: str, split: str) -> str:
    low, high = (found.get(f"{name}_{side}") for side in ("low", "high"))
    interval = f" (95 % interval {low:.3f} to {high:.3f})" if low is not None and high is not None else ""
    return f"{found[name]:.3f}{interval} on the split {split}, which it never trained on."


def _use(params: Params, choice: Choice, classes: tuple[str, ...]) -> str:
    study = params.study_of(choice.run)
    side = study.image_size
    purpose = "it rebuilds a published study" if study.paper else "it compares nets on one data set"
    values = [f"{name} from {low:g} to {high:g}" for name, (low, high) in study.values.items()]
    sentences = [f"Research and teaching: {purpose}. It takes an image, scaled to {side} x {side} pixels."]
    if params.task_of(choice.run).has_classes:
        sentences.append(f"It gives each class a probability: {', '.join(classes)}.")
        sentences.append("It has no class for an image of anything else.")
    if params.task_of(choice.run).has_values:
        sentences.append(f"It predicts {', '.join(values)}.")
    return " ".join(sentences)


def _subgroups(params: Params, choice: Choice) -> str:
    """Return the accuracy of each subgroup that was compared with the other images."""
    found = results.read_subgroups(choice.run, choice.phase, params.study_of(choice.run).primary_split)
    found = found[found["gap"].notna()]
    lines = [
        f"- {row.column}: {row.value}: {float(row.accuracy):.3f} ({float(row.accuracy_low):.3f} to "
        f"{float(row.accuracy_high):.3f}) on {row.images} images"
        + (", significantly different from the others" if row.is_significant in (True, "True") else "")
        for row in found.itertuples()
    ]
    return "\n".join(lines) or "No subgroups are known that could be compared."


def _without_evidence(params: Params, choice: Choice) -> str:
    """Return the accuracy on images without evidence for the class, where it was tested."""
    models = {phase: directory_md5(paths.phase(choice.run, phase)) for phase in params.phases(choice.run)}
    tests = occlusion.of_run(params, choice.run, models) if choice.phase == params.phases(choice.run)[-1] else {}
    lines = [
        f"- {name.replace('_', ' ')}, {split}: {its['accuracy']:.3f} ({its['accuracy_low']:.3f} to "
        f"{its['accuracy_high']:.3f})"
        + (", above chance: the net may use something else" if split in each["above_chance"] else "")
        for name, each in tests.items()
        if each["is_blind"]
        for split, its in each["splits"].items()
    ]
    return "\n".join(lines) or "It was not tested."


def _data(params: Params, record: build.Record) -> str:
    study = params.studies[record.study]
    lines = [
        f"- {each.split}: {json.loads(each.profile)['images']} images (digest {each.digest})" for each in record.data
    ]
    generated = (
        "Synthetic images only: it has never seen a photograph or an X-ray of a patient." if study.synthetic else ""
    )
    source = f"Source `{study.source.format}`. {generated if study.source.format == 'synthetic' else ''}".strip()
    return "\n".join([source, "", *lines])


def _findings(study: str) -> str:
    used = json.loads(paths.audit(study).read_text(encoding="utf-8"))["findings"]["used"]
    telling = [each for each in used if each["severity"] != "info"]
    return "\n".join(f"- {each['severity']}: {each['kind']}" for each in telling) or "No severe findings or warnings."


def _unlike(params: Params, study: str) -> str:
    shares = json.loads(paths.audit(study).read_text(encoding="utf-8")).get("unlike_training_images", {})
    split = params.studies[study].primary_split
    if split not in shares:
        return "They are not marked."
    alarms = ", ".join(f"{share:.1%} of {name}" for name, share in shares.items() if name in ("val", split))
    return f"Predictions mark them by coarse colours and contrasts. Marked although from the same collection: {alarms}."


def _training(record: build.Record) -> str:
    named = ("net", "policy", "epochs", "batch_size", "training.optimizer", "training.learning_rate", "batchnorm")
    settings = ", ".join(f"{name} {record.params[name]}" for name in named)
    place = record.where.get("git_commit", "an unknown commit")[:12]
    return f"Recipe {record.tags['recipe']}, profile {record.tags['profile']}: {settings}. Commit {place}."
