"""params.yaml as frozen data, checked against the schema below.

Every value is checked for its type (no conversion), its range and its choices, and no key may be missing or unknown.
"""

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cnnstudy import files, paths
from cnnstudy.data import sources, synth
from cnnstudy.errors import UserError

StudyName = Literal["faces", "xray"]
SplitName = Literal["train", "val", "tune", "test"]
Net = Literal["alexnet", "vggnet", "mobilenet", "xraynet"]
Widths = Literal["report", "reshi"]
BatchNormMode = Literal["moving", "recalibrated"]
Remedy = Literal["drop", "keep"]
ClassWeight = Literal["none", "balanced"]
Precision = Literal["auto", "float32", "bfloat16", "float16"]
Jit = Literal["auto", "on", "off"]
Rate = Literal["constant", "cosine", "trapezoid"]
Optimizer = Literal["adam", "muon"]
Selection = Literal["last", "best"]
Frozen = Literal["none", "features"]

# The split that stands for a run: faces has no test split of its own.
HEADLINE: dict[StudyName, SplitName] = {"faces": "val", "xray": "test"}

Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Correlation = Annotated[float, Field(ge=-1, le=1)]
LearningRate = Annotated[float, Field(gt=0, le=1)]
# What rows of tables and curves are called that are no class.
RESERVED = {"accuracy", "macro", "micro"}
Name = Annotated[str, Field(min_length=1, pattern=r"^[a-z0-9-]+$")]


class Section(BaseModel):
    """A part of params.yaml: strict types, no unknown keys, no changes after reading."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Compute(Section):
    """How TensorFlow uses the machine, and how often what a training has reached is stored."""

    threads: Annotated[int, Field(ge=1, le=1024)]
    precision: Precision
    jit: Jit
    checkpoint_seconds: Annotated[float, Field(ge=0)]


class Audit(Section):
    """Which severe findings of the audit, on the data as it is used, stop everything before training."""

    fail_on: list[Literal["leak", "conflict", "shortcut"]]


class Tracking(Section):
    """How long a training lasts, in seconds, before MLflow shows it as it goes on."""

    live_after: Annotated[float, Field(ge=0)]


class Minimum(Section):
    """The accuracy on its headline split that a net of each study has at least when it is promoted."""

    faces: Annotated[float, Field(ge=0, le=1)]
    xray: Annotated[float, Field(ge=0, le=1)]


class Promotion(Section):
    """What `cnnstudy promote` asks of a net."""

    minimum: Minimum


class Source(Section):
    """Where a study's images come from, and in which of the formats of cnnstudy.data.sources.

    The path lies inside the repository, or is absolute.
    """

    format: Annotated[str, Field(min_length=1)]
    path: Annotated[str, Field(min_length=1)]


class Sources(Section):
    """The source of each study."""

    faces: Source
    xray: Source


class Drawn(Section):
    """Drawn images per class."""

    train: Count
    tune: Annotated[int, Field(ge=0)]
    test: Annotated[int, Field(ge=0)]


class DrawnFilms(Drawn):
    """Drawn films per class, and how far their site follows from the label: 0 not at all, 1 always, -1 crosswise.

    `site_label_correlation` ties them in train, `test_site_label_correlation` in test, where it may differ.
    """

    site_label_correlation: Correlation
    test_site_label_correlation: Correlation


class Split(Section):
    """Shares of the images that a source does not assign itself.

    `tune` and `test` are shares of all images, `val` of what is left for training. `leaks` is what becomes of training
    copies of images (or of images of persons) in the source's other splits, `conflicts` of pictures under two classes.
    """

    val: Annotated[float, Field(gt=0, lt=1)]
    tune: Fraction
    test: Fraction
    leaks: Remedy
    conflicts: Remedy


class FacesStudy(Section):
    """Data and training sizes of the facial-expression study.

    `tuned_frozen` is what the tuning phase leaves as the first phase made it: nothing, or the `features`, all layers
    before the dense head. Their BatchNorm layers then keep the statistics they have, under either `batchnorm`.
    """

    image_size: Annotated[int, Field(ge=32, le=1024)]
    classes: Annotated[dict[Name, list[str]], Field(min_length=2)]
    drawn: Drawn
    split: Split
    batch_size: Count
    epochs: Count
    class_weight: ClassWeight
    tuned_epochs: Count
    tuned_learning_rate: LearningRate
    tuned_frozen: Frozen


class XrayStudy(Section):
    """Data and training sizes of the chest-film study; the second class is the positive one."""

    image_size: Annotated[int, Field(ge=64, le=1024)]
    classes: Annotated[dict[Name, list[str]], Field(min_length=2, max_length=2)]
    drawn: DrawnFilms
    split: Split
    batch_size: Count
    epochs: Count
    class_weight: ClassWeight
    widths: Widths


class Training(Section):
    """Adam's settings (Kingma and Ba 2015), and what else a recipe sets.

    `optimizer` is adam, or muon (Jordan 2024): Adam for all but the kernels of dense layers and convolutions, which
    are turned by `kernel_factor` times the learning rate a step. `augmentation` multiplies the ranges of a plan's
    rotations and shifts.

    `schedule` keeps the learning rate, or lets it rise over the first tenth of the steps and fall to 0 along a cosine
    (Loshchilov and Hutter 2017), or (trapezoid) stay at its peak and fall along a line over the last four tenths;
    `dropout` multiplies the rates of a net's dropout layers. `label_smoothing` is the
    share of every label that is spread over all classes alike (Szegedy et al. 2016).

    `selection` is which epoch's weights are kept: the last, or the best. `patience` stops a phase after that many
    epochs without a better one; 0 never does. An epoch is better where its accuracy on the split `val` is higher, or
    where that is the same and the cross-entropy lower, with BatchNorm's statistics of the kind that `batchnorm` says
    (see cnnstudy.training.selection). A figure for `val` is then that of the best of many.
    """

    optimizer: Optimizer
    kernel_factor: Annotated[float, Field(gt=0, le=100)]
    learning_rate: LearningRate
    beta_1: Fraction
    beta_2: Fraction
    epsilon: Annotated[float, Field(gt=0, le=1)]
    schedule: Rate
    dropout: Annotated[float, Field(ge=0, le=1)]
    augmentation: Annotated[float, Field(ge=0, le=1)]
    label_smoothing: Fraction
    selection: Selection
    patience: Annotated[int, Field(ge=0)]


class Trainings(Section):
    """How each study's nets are trained."""

    faces: Training
    xray: Training


class Study(Section):
    """A study that is part of this experiment; `path` repeats its source's path for DVC."""

    path: str


class Plan(Section):
    """Which training images there are, and how each is changed.

    `level` adds that many exact copies (90, 180, 270 degrees, flipped); `rotation` (degrees), `shift` (share of the
    side) and `flip` (left to right) are drawn anew for every image and epoch.
    """

    level: Annotated[int, Field(ge=0, le=4)]
    rotation: Annotated[int, Field(ge=0, le=180)]
    shift: Fraction
    flip: bool


class Run(Section):
    """One net, trained on one plan; `depth` and `widths` are xraynet's.

    `batch_size` stands over the study's; `head_dropout` is the rate of a dropout layer put before the last dense layer.
    """

    study: StudyName
    plan: Name
    net: Net
    depth: Annotated[int, Field(ge=1, le=6)] | None = None
    widths: Widths | None = None
    batch_size: Count | None = None
    head_dropout: Fraction | None = None


class Finetuned(Section):
    """A run that goes on to train on the tune split."""

    study: StudyName
    plan: Name


# The axis of an ablation whose places are nets, in no order.
NETS = "net"


class Ablation(Section):
    """Runs of one study along one axis."""

    study: StudyName
    axis: str
    runs: Annotated[dict[Name, int], Field(min_length=1)]


class Params(Section):
    """The whole of params.yaml."""

    model: Name
    profile: Name
    recipe: Name
    faces_data: Annotated[str, Field(min_length=1)]
    xray_data: Annotated[str, Field(min_length=1)]
    seeds: Annotated[list[Seed], Field(min_length=1)]
    data_seed: Seed
    split_seed: Seed
    compute: Compute
    tracking: Tracking
    promotion: Promotion
    batchnorm: BatchNormMode
    sources: Sources
    audit: Audit
    faces: FacesStudy
    xray: XrayStudy
    training: Trainings
    studies: Annotated[dict[StudyName, Study], Field(min_length=1)]
    plans: Annotated[dict[StudyName, dict[Name, Plan]], Field(min_length=1)]
    runs: Annotated[dict[Name, Run], Field(min_length=1)]
    finetuned: dict[Name, Finetuned]
    ablations: dict[Name, Ablation]

    def study(self, name: StudyName) -> FacesStudy | XrayStudy:
        """The data and training sizes of a study."""
        return self.faces if name == "faces" else self.xray

    def recipe_of(self, name: StudyName) -> Training:
        """How a study's nets are trained."""
        return self.training.faces if name == "faces" else self.training.xray

    def plan_of(self, run: str) -> Plan:
        """Which training images a run has."""
        settings = self.runs[run]
        return self.plans[settings.study][settings.plan]

    def batch_size(self, run: str) -> int:
        """Images of a run's training step."""
        settings = self.runs[run]
        return settings.batch_size or self.study(settings.study).batch_size

    def source(self, name: StudyName) -> Source:
        """Where a study's images come from."""
        return self.sources.faces if name == "faces" else self.sources.xray

    def phases(self, run: str) -> tuple[str, ...]:
        """`base`, and `tuned` where the run is fine-tuned."""
        return ("base", "tuned") if run in self.finetuned else ("base",)


def read_params(path: Path = paths.PARAMS) -> Params:
    """Read and check a parameter file.

    Raises:
        UserError: naming the file, the key, its value and what is allowed.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; `make params` writes it") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not YAML: {error}") from None
    return parse_params(text, path)


def parse_params(text: str, path: Path) -> Params:
    """The same of the content that a parameter file has, or is to have.

    Raises:
        UserError: naming the file, the key, its value and what is allowed.
    """
    try:
        content = files.parse_settings(text)
    except files.SettingsError as error:
        raise UserError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        keys = ", ".join(Params.model_fields)
        raise UserError(f"{path}: {_shown(content)} found; allowed: a mapping with the keys {keys}")
    try:
        params = Params.model_validate(content)
    except ValidationError as error:
        raise UserError(f"{path}: {_explain(error)}") from None
    for key, value, allowed in _contradictions(params):
        raise UserError(f"{path}: {key}: {_shown(value)} found; allowed: {allowed}")
    return params


def require_sources(params: Params) -> None:
    """Refuse a source that is not there, before the stage that reads it: DVC removes a stage's outputs first.

    Raises:
        UserError: naming the key, its value and what is allowed.
    """
    for study in params.studies:
        require_source(params, study)


def require_source(params: Params, study: StudyName) -> None:
    """The same of one study."""
    path = Path(params.source(study).path)
    if os.path.isdir(path):  # unlike Path.is_dir, False where a folder above can't be entered
        return
    is_tracked = any(Path(f"{each}.dvc").is_file() for each in (path, *path.parents))
    allowed = "an existing folder; `dvc pull` brings this one" if is_tracked else "an existing folder"
    raise UserError(f"{paths.PARAMS}: sources.{study}.path: {str(path)!r} is no folder; allowed: {allowed}")


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    location = [part for part in first["loc"] if part != "[key]"]
    key = ".".join(map(str, location))
    if first["type"] == "missing":
        return f"{key}: missing; allowed: {_schema_words(location)}"
    if first["type"] == "extra_forbidden":
        keys = _section_at(location[:-1]).model_fields
        return f"{key}: {_shown(first['input'])} found, an unknown key; allowed: {', '.join(keys)}"
    allowed = first["msg"].removeprefix("Input should be ").replace("String should", "a text that should")
    return f"{key}: {_shown(first['input'])} found; allowed: {allowed}"


def _shown(value: object) -> str:
    """A value on one line, cut to a readable length."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _section_at(location: list[Any]) -> type[Section]:
    """The section that `location`, a path of keys, leads to."""
    section: type[Section] = Params
    keys = iter(location)
    for key in keys:
        annotation = section.model_fields[key].annotation
        while not _is_section(annotation):
            next(keys)  # the entry's name in a dict of sections
            annotation = annotation.__args__[1]  # type: ignore[union-attr]
        section = annotation  # type: ignore[assignment]
    return section


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Section)


def _schema_words(location: list[Any]) -> str:
    """What a missing key may hold, from the JSON schema of its section."""
    schema = _section_at(location[:-1]).model_json_schema()["properties"][location[-1]]
    words = ("enum", "type", "minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum")
    return ", ".join(f"{word} {schema[word]}" for word in words if word in schema) or "a section of its own"


def _contradictions(params: Params) -> list[tuple[str, object, str]]:
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
        if source.format not in sources.formats():
            found.append((f"sources.{name}.format", source.format, ", ".join(sources.formats())))
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
        drawn = synth.FACES if name == "faces" else synth.FILMS
        if source.format == "drawn":
            allowed = f"with drawn data: {', '.join(drawn)}"
            unknown = [label for label in sizes.classes if label not in drawn]
            found += [(f"{name}.classes.{label}", sizes.classes[label], allowed) for label in unknown]
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
    for name, entry in params.finetuned.items():
        if name not in params.runs or params.runs[name].study != entry.study or entry.study != "faces":
            found.append((f"finetuned.{name}", entry.study, "a run of the study faces, under its own study"))
    for name, ablation in params.ablations.items():
        for member in ablation.runs:
            if member not in params.runs or params.runs[member].study != ablation.study:
                found.append((f"ablations.{name}.runs", member, f"runs of the study {ablation.study}"))
    return found
