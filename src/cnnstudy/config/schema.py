"""params.yaml as frozen data, checked against the schema below.

Every value is checked for its type (no conversion), its range and its choices, and no key may be missing or unknown.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

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
    """When MLflow begins to show a training that goes on: after this many seconds."""

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


# Settings of a study's own section that say how its nets are trained.
SIZES = ("batch_size", "epochs", "class_weight")


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

    `training` stands over the study's settings: any of `Training` and `SIZES`. `head_dropout` is the rate of a dropout
    layer put before the last dense layer.
    """

    study: StudyName
    plan: Name
    net: Net
    depth: Annotated[int, Field(ge=1, le=6)] | None = None
    widths: Widths | None = None
    training: dict[str, bool | int | float | str] = Field(default_factory=dict)
    head_dropout: Fraction | None = None


class Finetuned(Section):
    """A run that goes on to train on the tune split."""

    study: StudyName
    plan: Name


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

    def study_recipe(self, name: StudyName) -> Training:
        """How a study's nets are trained."""
        return self.training.faces if name == "faces" else self.training.xray

    def plan_of(self, run: str) -> Plan:
        """Which training images a run has."""
        settings = self.runs[run]
        return self.plans[settings.study][settings.plan]

    def run_recipe(self, run: str) -> Training:
        """Return how a run is trained: its study's recipe, with what the run sets itself."""
        settings = self.runs[run]
        own = {key: value for key, value in settings.training.items() if key not in SIZES}
        return Training.model_validate(self.study_recipe(settings.study).model_dump() | own)

    def run_sizes(self, run: str) -> FacesStudy | XrayStudy:
        """Return a run's study with the batch size, the epochs and the class weights that the run sets itself."""
        settings = self.runs[run]
        study = self.study(settings.study)
        own = {key: value for key, value in settings.training.items() if key in SIZES}
        return type(study).model_validate(study.model_dump() | own) if own else study

    def source(self, name: StudyName) -> Source:
        """Where a study's images come from."""
        return self.sources.faces if name == "faces" else self.sources.xray

    def phases(self, run: str) -> tuple[str, ...]:
        """`base`, and `tuned` where the run is fine-tuned."""
        return ("base", "tuned") if run in self.finetuned else ("base",)
