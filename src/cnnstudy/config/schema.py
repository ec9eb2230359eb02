"""The schema of params.yaml: frozen data with strict checks.

Every value is checked for its type (without conversion), range and choices, and no key may be missing or unknown.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal
from zlib import crc32

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

SplitName = Literal["train", "val", "tune", "test"]
BatchNormMode = Literal["moving", "recalibrated"]
Remedy = Literal["drop", "keep"]
ClassWeight = Literal["none", "balanced"]
Precision = Literal["auto", "float32", "tf32", "bfloat16", "float16"]
Jit = Literal["auto", "on", "off"]
Rate = Literal["constant", "cosine", "warmup-stable-decay"]
Optimizer = Literal["adam", "muon"]
Selection = Literal["last", "best"]
Frozen = Annotated[int, Field(ge=0)] | Annotated[str, Field(min_length=1)]
PhaseName = Literal["base", "tuned"]
TaskName = Literal["classification", "regression", "joint"]
ValueLoss = Literal["mse", "ccc"]

Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Share = Annotated[float, Field(ge=0, le=1)]
LearningRate = Annotated[float, Field(gt=0, le=1)]
# Names of table rows and curves that are not classes.
RESERVED = {"accuracy", "macro", "micro"}
# Names of columns beside the values', and of metrics of all values.
RESERVED_VALUES = {"phase", "split", "seed", "id", "path", "actual", "predicted", "probability", "ccc", "n"}
# Names that no study may have: these folders of data/ hold what the studies share.
RESERVED_STUDIES = ("raw", "reference")
Name = Annotated[str, Field(min_length=1, pattern=r"^[a-z0-9-]+$")]
StudyName = Annotated[str, Field(min_length=1, pattern=r"^[a-z0-9_-]+$")]
# The name of a Python module.
ModuleName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
# Checks of the audit that can have severe findings.
Severe = Literal["leak", "conflict", "shortcut"]
Option = bool | int | float | str


@dataclass(frozen=True)
class Task:
    """The task of a run: to learn the classes of its study, the values, or both by two heads on one body."""

    has_classes: bool
    has_values: bool

    @property
    def headline(self) -> str:
        """The metric of a run's headline: the mean CCC of the values if it learns any, else the accuracy."""
        return "ccc" if self.has_values else "accuracy"


TASKS: dict[TaskName, Task] = {
    "classification": Task(True, False),
    "regression": Task(False, True),
    "joint": Task(True, True),
}


class Section(BaseModel):
    """A part of params.yaml: strict types, no unknown keys, no changes after reading."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Compute(Section):
    """TensorFlow's use of the machine, and the seconds between checkpoints of a training."""

    threads: Annotated[int, Field(ge=1, le=1024)]
    precision: Precision
    jit: Jit
    checkpoint_seconds: Annotated[float, Field(ge=0)]


class Audit(Section):
    """The checks of the audit whose severe findings, on the data as used, stop a study before training."""

    fail_on: list[Severe]


class Tracking(Section):
    """The number of seconds after which MLflow shows a training that is still under way."""

    live_after: Annotated[float, Field(ge=0)]


class Promotion(Section):
    """The conditions of `cnnstudy promote`: a minimum accuracy on the primary split, and no severe finding.

    For a run that learns values the minimum is one of the mean CCC.

    `accepted` lists the checks of the audit whose severe findings were reviewed and do not stop a promotion.
    `maximum_gap` is the most accuracy that any subgroup may lose significantly against the other images; null for any.
    """

    minimum: Share
    maximum_gap: Share | None = None
    accepted: list[Severe] = Field(default_factory=list)


class OperatingPoint(Section):
    """How the threshold of a net for two classes is chosen on val, and the prevalence that predictive values are for.

    The threshold is the highest with at least this `sensitivity`, or that of Youden's index if it is null. `prevalence`
    is the share of positive cases where the net would be used.
    """

    sensitivity: Annotated[float, Field(gt=0, le=1)] | None
    prevalence: Annotated[float, Field(gt=0, lt=1)]


class Group(Section):
    """The way to find the person or patient of an image; a person's images stay on one side of every split.

    One of: `pattern`, a regular expression for the path below the source's folder, whose group `group` (or first
    group) is the person; `folder`, the folder below the class; `column`, a column of the table. Without any of
    them, the format's own persons are used, or, with `recognise`, a known scheme of naming files after patients.
    """

    pattern: str = ""
    folder: bool = False
    column: str = ""
    recognise: bool = True


class Columns(Section):
    """Columns of a table in the format csv; for '', usual names are tried. `keep` names columns for samples.csv."""

    file: str = ""
    label: str = ""
    split: str = ""
    keep: list[str] = Field(default_factory=list)


class Source(Section):
    """The source of a study's images: a path, and one of the formats of cnnstudy.data.sources.

    The path lies inside the repository, or is absolute. `splits` maps names of folders (or cells) to splits or "none",
    `numbers` gives the classes of the labels 0, 1, ..., in order. Files of more than `max_bytes` are rejected.
    """

    format: Annotated[str, Field(min_length=1)]
    path: Annotated[str, Field(min_length=1)]
    group: Group = Group()
    columns: Columns = Columns()
    splits: dict[str, SplitName | Literal["none"]] = Field(default_factory=dict)
    numbers: list[str] = Field(default_factory=list)
    max_bytes: Count = 268_435_456


class Synthetic(Section):
    """The numbers of synthetic images per class and split, and the module of cnnstudy.data.synth that generates them.

    `unclassed` is the number of images of no class for each image of a class. `options` are options of the generator.
    """

    generator: ModuleName
    train: Count
    tune: Annotated[int, Field(ge=0)]
    test: Annotated[int, Field(ge=0)]
    options: dict[str, Option]
    unclassed: Share = 0.0


class Split(Section):
    """Shares of the images that a source does not assign to splits itself.

    `tune` and `test` are shares of all images, `val` is a share of the images left for training. `leaks` says whether
    to drop training images that are copies of images, or show persons, in the source's other splits; `conflicts` says
    whether to drop images under two classes.
    """

    val: Annotated[float, Field(gt=0, lt=1)]
    tune: Fraction
    test: Fraction
    leaks: Remedy
    conflicts: Remedy


class Training(Section):
    """Settings of the optimizer, and the other settings of a training recipe.

    `optimizer` is adam (Kingma and Ba 2015), or muon (Jordan 2024) for the kernels of dense layers and convolutions,
    with Adam for all other variables; muon's relative update in a step is `relative_update` times the learning rate.
    `augmentation` multiplies the ranges of an augmentation policy, except for flips and mixing.

    `schedule` is a constant learning rate, or a linear warm-up over the first tenth of the steps, followed by a cosine
    decay to 0 (Loshchilov and Hutter 2017) or (warmup-stable-decay) by a plateau and a linear decay over the last four
    tenths. `dropout` multiplies the rates of a net's dropout layers; `head_dropout` is the rate of a dropout layer
    before the last dense layer, 0 for none. `label_smoothing` is the share of every label that is spread evenly over
    all classes (Szegedy et al. 2016).

    `selection` says which epoch's weights are kept: the last, or the best. `patience` stops a phase after that many
    epochs without a better one; 0 never stops it. An epoch is better if its accuracy on the split `val` is higher, or
    the accuracy is the same and the cross-entropy lower, with the BatchNorm statistics that `batchnorm` selects (see
    cnnstudy.training.selection). A metric on `val` is then that of the best of many epochs.

    Of runs that learn values, `value_loss` is `mse`, the mean squared error, or `ccc`, that plus one minus the mean
    concordance correlation coefficient of a batch (see cnnstudy.training.objectives). `value_weight` multiplies it
    where the classes are learnt as well. `value_activation` is that of the values' outputs; `tanh` keeps them between
    -1 and 1.
    """

    optimizer: Optimizer
    relative_update: Annotated[float, Field(gt=0, le=100)]
    learning_rate: LearningRate
    beta_1: Fraction
    beta_2: Fraction
    epsilon: Annotated[float, Field(gt=0, le=1)]
    schedule: Rate
    dropout: Share
    head_dropout: Fraction
    augmentation: Share
    label_smoothing: Fraction
    selection: Selection
    patience: Annotated[int, Field(ge=0)]
    value_loss: ValueLoss = "mse"
    value_weight: Annotated[float, Field(gt=0, le=100)] = 1.0
    value_activation: Literal["linear", "tanh"] = "linear"


class Finetune(Section):
    """Settings of the tuned phase, which continues training on the tune split.

    `holdout` is the share of the tune split that is not trained on, but shows what tuning gains on images like it;
    these images are the split `tune_holdout`. `train_share` is the share of the train split that is trained on as well,
    so that the net does not forget it. `frozen` names the layers that are not trained: `none`, the `features`
    before the head, a number of layers, or the name of the last frozen layer. Frozen BatchNorm layers keep their
    statistics, under either `batchnorm`.
    """

    epochs: Count
    learning_rate: LearningRate
    frozen: Frozen
    holdout: Fraction = 0.0
    train_share: Share = 0.0


class Policy(Section):
    """An augmentation policy: exact copies of training images, and ranges of random changes.

    `level` adds that many exact copies (90, 180, 270 degrees, flipped). All other changes are random within a range,
    anew for every image and epoch; the functions of cnnstudy.data.augment with these names describe them. `rotation` is
    in degrees; `shift`, `crop` and `cutout` are shares of the side, `brightness` and `contrast` of the full range.
    """

    level: Annotated[int, Field(ge=0, le=4)]
    rotation: Annotated[int, Field(ge=0, le=180)]
    shift: Fraction
    flip: bool
    crop: Fraction = 0.0
    brightness: Fraction = 0.0
    contrast: Fraction = 0.0
    cutout: Fraction = 0.0
    mixing: Annotated[float, Field(ge=0, le=10)] = 0.0


class Region(Section):
    """A part of the images that is hidden, or left alone, to show what nets rely on (see cnnstudy.occlusion).

    `ellipse` has the centre (x, y) and the half-axes (across, down), as shares of the side; with `outside` the region
    is what lies outside of it. Where the region of each image is known, that is used instead. `evidence` says how much
    of the evidence for the class the region holds: all, part or none.
    """

    ellipse: Annotated[list[Annotated[float, Field(gt=0, le=2)]], Field(min_length=4, max_length=4)]
    outside: bool = False
    evidence: Literal["all", "part", "none"]


class Choices(Section):
    """Settings that depend on the chosen profile, recipe or data set; only conf/ reads them."""

    profile: dict[str, dict[str, Any]]
    recipe: dict[str, dict[str, Any]]
    data: dict[str, dict[str, Any]]


# Settings of runs that learn values, which others leave at their defaults.
OF_VALUES = {"value_loss", "value_weight", "value_activation"}
# A study's training settings outside its section `training`.
SIZES = ("batch_size", "epochs", "class_weight")


class Study(Section):
    """A study: its data, splits, augmentation policies and training.

    `classes` maps a class to its spellings in the source; the order gives the label's number, but of two classes
    `positive` comes last. `values` maps numbers that an image may have, such as valence, to their range [low, high];
    `unclassed` are the source's names for images of no class, which are used only for their values. `paper` names a
    module of cnnstudy.published, or null. `primary_split` is the split of the headline numbers. `limits` describes
    limits of the real data, `not_for` uses that the nets are not made for. `options` apply to every net. `data` names
    the entry of `choices.data` in use, or null. Layer tables are for images of `paper_image_size`, for comparison with
    the paper's tables, or of `image_size` where that is null. `crop` is the part of an image to use: `face` for the
    square around the largest face, widened by `crop_margin` (a share of its side), or null for the whole image.
    `operating_point` is for two classes, or null. `regions` are parts of the images that are hidden in tests.
    """

    title: str
    limits: str
    not_for: str
    paper: ModuleName | None
    source: Source
    data: str | None
    positive: Name | None
    classes: Annotated[dict[Name, list[str]], Field(min_length=2)]
    values: dict[ModuleName, Annotated[list[float], Field(min_length=2, max_length=2)]]
    unclassed: list[str]
    image_size: Annotated[int, Field(ge=8, le=1024)]
    crop: Literal["face"] | None = None
    crop_margin: Annotated[float, Field(ge=0, le=4)] = 0.0
    paper_image_size: Annotated[int, Field(ge=8, le=1024)] | None
    synthetic: Synthetic | None
    split: Split
    primary_split: Literal["val", "test"]
    policies: Annotated[dict[Name, Policy], Field(min_length=1)]
    options: dict[str, Option]
    batch_size: Count
    epochs: Count
    class_weight: ClassWeight
    training: Training
    finetune: Finetune | None
    operating_point: OperatingPoint | None = None
    regions: dict[Name, Region] = Field(default_factory=dict)
    promotion: Promotion
    choices: Choices

    @field_validator("classes")
    @classmethod
    def _positive_last(cls, classes: dict[str, list[str]], info: ValidationInfo) -> dict[str, list[str]]:
        """Return the classes in the order of their labels."""
        positive = info.data.get("positive")
        return classes if positive not in classes else classes | {positive: classes.pop(positive)}


class Generated(Section):
    """The number of synthetic images per class of an external test set, their generator and its options."""

    generator: ModuleName
    images: Count
    options: dict[str, Option] = Field(default_factory=dict)


class External(Section):
    """An external test set: images from elsewhere, on which every net of `study` is tested and none is trained.

    `classes` maps some of the study's classes to their spellings in this source; without it the study's are used.
    """

    study: StudyName
    source: Source
    synthetic: Generated | None = None
    classes: dict[Name, list[str]] | None = None


class Run(Section):
    """A run: one net, trained with one augmentation policy; its `options` override the study's.

    `task` is what it learns (see `TASKS`). `training` overrides the study's settings: any of `Training` and `SIZES`.
    """

    study: StudyName
    policy: Name
    net: ModuleName
    task: TaskName = "classification"
    options: dict[str, Option] = Field(default_factory=dict)
    training: dict[str, Option] | None = None


class Pretrained(Run):
    """A run that starts from the weights in a file, except for the last layer (see cnnstudy.models.pretrained).

    `frozen` names the layers that the base phase does not train: `none`, the `features` before the head, a number of
    layers, or the name of the last frozen layer.
    """

    weights: Annotated[str, Field(min_length=1)]
    frozen: Frozen = "none"


class Finetuned(Section):
    """A run with a tuned phase, which continues training on the tune split."""

    study: StudyName
    policy: Name


class Exported(Section):
    """A run that is exported as LiteRT files, and the phase whose weights are exported."""

    study: StudyName
    phase: PhaseName


class Ablation(Section):
    """Runs of one study along one axis: each run's position is a number, or, for all runs, a word."""

    study: StudyName
    axis: str
    runs: Annotated[dict[Name, int | float | str], Field(min_length=1)]

    @property
    def has_words(self) -> bool:
        """Return whether the positions are words, in the order in which they are listed."""
        return any(isinstance(position, str) for position in self.runs.values())


class Params(Section):
    """The whole of params.yaml; a study with several data sets also has a key `<study>_data` (see `data_choices`)."""

    model_config = ConfigDict(strict=True, extra="allow", frozen=True)
    __pydantic_extra__: dict[str, str]

    models: Annotated[dict[Name, Name], Field(min_length=1)]
    profile: Name
    recipe: Name
    seeds: Annotated[list[Seed], Field(min_length=1)]
    data_seed: Seed
    split_seed: Seed
    compute: Compute
    tracking: Tracking
    batchnorm: BatchNormMode
    audit: Audit
    studies: Annotated[dict[StudyName, Study], Field(min_length=1)]
    runs: dict[Name, Run]
    pretrained: dict[Name, Pretrained]
    finetuned: dict[Name, Finetuned]
    exported: dict[Name, Exported]
    ablations: dict[Name, Ablation]
    external: dict[Name, External]

    @property
    def model(self) -> str:
        """Return the chosen models as `-S model=` takes them: a name, or several in brackets."""
        names = list(dict.fromkeys(self.models.values()))
        return names[0] if len(names) == 1 else f"[{','.join(names)}]"

    @property
    def data_choices(self) -> dict[str, str]:
        """Return the data set chosen for each study that has several: {<study>_data: name}."""
        return dict(self.__pydantic_extra__)

    @property
    def all_runs(self) -> dict[str, Run]:
        """Return the runs that start from random weights, and those that start from a file's weights."""
        return {**self.runs, **self.pretrained}

    def study_of(self, run: str) -> Study:
        """Return a run's study."""
        return self.studies[self.all_runs[run].study]

    def task_of(self, run: str) -> Task:
        """Return what a run learns."""
        return TASKS[self.all_runs[run].task]

    def values_of(self, run: str) -> tuple[str, ...]:
        """Return the values that a run learns, in the order of its outputs; () if it learns classes alone."""
        return tuple(self.study_of(run).values) if self.task_of(run).has_values else ()

    def policy_of(self, run: str) -> Policy:
        """Return a run's augmentation policy."""
        return self.study_of(run).policies[self.all_runs[run].policy]

    def options_of(self, run: str) -> dict[str, Option]:
        """Return the options of a run's net: the study's, overridden by the run's own."""
        return self.study_of(run).options | self.all_runs[run].options

    def run_recipe(self, run: str) -> Training:
        """Return a run's training settings: its study's, overridden by the run's own."""
        own = {key: value for key, value in (self.all_runs[run].training or {}).items() if key not in SIZES}
        training = self.study_of(run).training
        return Training.model_validate(training.model_dump() | own) if own else training

    def run_sizes(self, run: str) -> Study:
        """Return a run's study with the run's own batch size, epochs and class weights."""
        own = {key: value for key, value in (self.all_runs[run].training or {}).items() if key in SIZES}
        study = self.study_of(run)
        return Study.model_validate(study.model_dump() | own) if own else study

    def phases(self, run: str) -> tuple[str, ...]:
        """Return a run's phases: `base`, and `tuned` where the run is fine-tuned."""
        return ("base", "tuned") if run in self.finetuned else ("base",)

    def stage(self, name: str, run: str) -> str:
        """Return the name of a run's stage: train, finetune, evaluate or export."""
        kind = f"{name}-pretrained" if run in self.pretrained and name in ("train", "evaluate") else name
        return f"{kind}@{run}"

    def of_external(self, name: str) -> "Params":
        """Return parameters in which an external test set is the only study, with its study's classes and image size.

        Synthetic images have a seed of their own, so that they show other persons than the study's images.
        """
        external = self.external[name]
        study, own = self.studies[external.study], external.synthetic
        synthetic = own and Synthetic(generator=own.generator, train=own.images, tune=0, test=0, options=own.options)
        # The set tests the classes alone.
        alone: dict[str, Any] = {"values": {}, "unclassed": []}
        changed = study.model_copy(update={"source": external.source, "synthetic": synthetic, "data": None} | alone)
        if external.classes is not None:
            changed = changed.model_copy(update={"classes": external.classes})
        seed = crc32(f"{name} {self.data_seed}".encode()) % 2**31
        return self.model_copy(update={"studies": {name: changed}, "data_seed": seed})

    def owner(self, name: str) -> str:
        """Return the study of an external test set, or the name itself if it is a study's."""
        return self.external[name].study if name in self.external else name

    def section(self, name: str) -> str:
        """Return the section of a study or an external test set."""
        return f"external.{name}" if name in self.external else f"studies.{name}"

    def external_of(self, study: str) -> list[str]:
        """Return a study's external test sets."""
        return [name for name, external in self.external.items() if external.study == study]

    def runs_of(self, study: str) -> list[str]:
        """Return a study's runs."""
        return [name for name, run in self.all_runs.items() if run.study == study]

    def class_runs_of(self, study: str) -> list[str]:
        """Return a study's runs that learn its classes."""
        return [run for run in self.runs_of(study) if self.task_of(run).has_classes]
