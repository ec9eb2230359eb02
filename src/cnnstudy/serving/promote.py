"""Promotion of a trained net in MLflow's registry: the alias `champion` of its study's model."""

import json
import shutil
import tempfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import cnnstudy
from cnnstudy import trained
from cnnstudy.config.schema import Params, Study
from cnnstudy.data import crop
from cnnstudy.errors import UserError
from cnnstudy.serving import card, registered
from cnnstudy.serving.choice import Choice
from cnnstudy.serving.gate import pass_gate
from cnnstudy.tracking import build, keys, logged_model, store, upsert, write
from cnnstudy.training import environment
from cnnstudy.workspace import files, locked, paths

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.models import ModelSignature

PACKAGE = Path(cnnstudy.__file__).parent
CHAMPION, PREVIOUS = "champion", "previous"
MODEL_KEY = f"{keys.OWN}model_key"
# What the registered code imports, besides the dependencies of these packages; the lock has all versions.
PACKAGES = ("keras", "mlflow", "numpy", "pandas", "pillow", "tensorflow")
# Folders of the package to which users add files; a registered net needs none of them.
ADDED = ("models", "published")
# Characters that MLflow keeps of a description.
LONGEST = 5000
# Seconds that a user waits for one answer of a server, which may have a large file to store.
PATIENCE = "120"


@dataclass(frozen=True)
class Promotable:
    """A net to register: a training of a study, its classes, its version's tags, and its run's identity.

    `key` identifies it.
    """

    study: str
    choice: Choice
    classes: tuple[str, ...]
    requirements: list[str]
    tags: dict[str, str]
    its: keys.RunIdentity

    @property
    def key(self) -> str:
        """A hash of the weights, classes, packages and code that a version contains."""
        weights = files.md5(paths.weights(self.choice.folder))
        code = [files.md5(path) for path in sorted(PACKAGE.rglob("*.py")) if path.parent.name not in ADDED]
        return keys.text_md5(json.dumps([weights, self.classes, self.requirements, code]))


def promote(params: Params, choice: Choice) -> str:
    """Register a training, unless it already is, and make it the champion; return a line that says so.

    Raises:
        UserError: it does not pass the gate, or MLflow refuses.
    """
    metric, value = pass_gate(params, choice)
    study = params.all_runs[choice.run].study
    its = keys.identity(choice.run, params)
    figure = f"{params.studies[study].primary_split}_{metric}"
    tags = {"run": choice.run, "phase": choice.phase, "seed": str(choice.seed), figure: f"{value:.4f}"}
    tags |= _origin(params, choice.run) | {upsert.KEY: its.key}
    requirements = _requirements(params.studies[study])
    entry = Promotable(study, choice, trained.classes(params, choice.run), requirements, tags, its)
    store.configure(PATIENCE)
    with write.user_errors(""):
        version, is_new = _registered(params, entry)
    said = f"{study} version {version} is the champion{'' if is_new else ' already'}"
    return f"{said}: {choice}, {params.studies[study].primary_split} {metric} {value:.3f}"


def fetch_champion(study: str, folder: Path) -> Path:
    """Download the files of a study's champion into a folder, and return the folder that `registered.read_net` reads.

    Raises:
        UserError: there is none, or MLflow refuses.
    """
    remedy = require_store(study)
    store.configure(PATIENCE)
    import mlflow

    with write.user_errors(remedy):
        mlflow.set_tracking_uri(store.uri())
        uri = f"models:/{study}@{CHAMPION}/{registered.FOLDER.as_posix()}"
        return Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(folder)))


def require_store(study: str) -> str:
    """Refuse a store that does not exist; return the ending of errors about a champion that is not in it.

    Raises:
        UserError: it does not exist.
    """
    remedy = f"; allowed: what `cnnstudy promote RUN` registers as {study}"
    if store.is_new():
        raise UserError(f"{store.shown()}: no such store{remedy}")
    return remedy


def _origin(params: Params, run: str) -> dict[str, str]:
    """Return tags on the origin: the commit, and DVC's hashes of data and models."""
    tags = build.environment_tags()
    if build.git("status", "--porcelain", "--", str(paths.PARAMS), str(paths.LOCK)):
        tags["git_dirty"] = "true"
    wanted = ("git_commit", "git_branch", "git_dirty", "dvc_experiment")
    return {name: tags[name] for name in wanted if name in tags} | keys.md5_tags(keys.read_lock(), run, params)


def _requirements(study: Study) -> list[str]:
    """Return the packages that a study's registered net needs, with the versions of the lock."""
    pinned = locked.versions(paths.REQUIREMENTS)
    return [f"{name}=={pinned[name]}" for name in (*PACKAGES, *([crop.PACKAGE] if study.crop else []))]


def _registered(params: Params, entry: Promotable) -> tuple[str, bool]:
    """Return the version of an entry, created if missing and made the champion, and whether it is a new champion."""
    from mlflow.exceptions import MlflowException

    record = build.run_record(params, entry.choice.run, entry.its, build.environment_tags())
    source = upsert.upsert(record, write.USER_LIMIT)
    with store.lock(write.USER_LIMIT):
        client = store.client()
        try:
            about = (
                f"The promoted nets of the study {entry.study}; the alias {CHAMPION} is the one to use. {record.about}"
            )
            client.create_registered_model(entry.study, description=about)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
    version = _find(client, entry) or _upload(params, entry, client, source, record)
    return version, _crown(client, entry.study, version)


def _find(client: "MlflowClient", entry: Promotable) -> str | None:
    """Return the version that holds an entry; None where there is none, or where files of the version are gone."""
    found = client.search_model_versions(f"name = '{entry.study}'")
    same = (each for each in found if each.tags.get(MODEL_KEY) == entry.key)
    return next((str(each.version) for each in same if _is_complete(str(each.source))), None)


def _is_complete(source: str) -> bool:
    """Return whether the files that predictions need are among the artifacts at an address."""
    from mlflow.artifacts import list_artifacts

    folder = f"{source.rstrip('/')}/{registered.FOLDER.as_posix()}"
    present = list_artifacts(artifact_uri=folder, tracking_uri=store.uri()) or []
    return {registered.KERAS, registered.CLASSES} <= {PurePosixPath(each.path).name for each in present}


def _upload(params: Params, entry: Promotable, client: "MlflowClient", run: "Run", record: build.Record) -> str:
    """Upload a new version; its tags are set last, so that an incomplete version never seems complete."""
    from mlflow.models import Model

    its = run.info
    settings = record.params | {"phase": entry.choice.phase, "seed": str(entry.choice.seed)}
    logged = client.create_logged_model(
        its.experiment_id, name=f"{record.name}-promoted", source_run_id=its.run_id, tags=entry.tags, params=settings
    )
    text = card.text(params, entry.choice, entry.classes, record)
    with tempfile.TemporaryDirectory(prefix="cnnstudy-") as name:
        about = Model(artifact_path=logged.artifact_location, run_id=its.run_id, model_id=logged.model_id)
        folder = _package(params, entry, about, Path(name))
        files.write_text(folder / card.NAME, text)
        client.log_model_artifacts(logged.model_id, str(folder))
    split = params.studies[entry.study].primary_split
    logged_model.log_metrics(client, run, logged.model_id, card.numbers(params, entry.choice), record.data_of(split))
    client.finalize_logged_model(logged.model_id, "READY")
    tags = entry.tags | {MODEL_KEY: entry.key}
    link = f"[Metrics, data set and files](#/experiments/{its.experiment_id}/models/{logged.model_id})\n\n"
    made = client.create_model_version(
        entry.study,
        logged.artifact_location,
        its.run_id,
        tags,
        description=(link + text)[:LONGEST],
        model_id=logged.model_id,
    )
    return str(made.version)


def _package(params: Params, entry: Promotable, about: object, folder: Path) -> Path:
    """Write the folder that MLflow loads the model from, and return it."""
    environment.configure(params.compute.threads)
    import mlflow

    data = folder / registered.FOLDER.name
    data.mkdir()
    trained.load(params, entry.choice.run, entry.choice.folder).save(data / registered.KERAS)
    files.write_text(data / registered.CLASSES, json.dumps(entry.classes) + "\n")
    if (familiarity := paths.familiarity(entry.study)).is_file():
        shutil.copy(familiarity, data / registered.FAMILIARITY)
    run, study = entry.choice.run, params.studies[entry.study]
    warnings = {
        "is_synthetic": trained.is_synthetic(params, run),
        "notices": trained.notices(params, run),
        "temperature": trained.temperature(params, run, entry.choice.phase, entry.choice.seed),
        "crop_margin": study.crop_margin if study.crop else None,
        "values": params.values_of(run),
    }
    files.write_text(data / registered.WARNINGS, json.dumps(warnings) + "\n")
    pinned = locked.versions(paths.REQUIREMENTS)
    constraints = folder / "constraints.txt"
    files.write_text(constraints, "".join(f"{name}=={version}\n" for name, version in pinned.items()))
    mlflow.pyfunc.save_model(
        folder / "model",
        loader_module=registered.__name__,
        data_path=str(data),
        code_paths=[str(PACKAGE)],
        mlflow_model=about,
        signature=_signature(entry.classes if params.task_of(run).has_classes else (), params.values_of(run)),
        input_example=_example(),
        pip_requirements=[*entry.requirements, f"-c {constraints}"],
    )
    return folder / "model"


def _signature(classes: tuple[str, ...], values: tuple[str, ...]) -> "ModelSignature":
    """Return the signature: a column of images in; the likeliest class, the probabilities, values and an error out."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema
    from mlflow.types.schema import Object, Property

    answers: dict[str, Any] = {"class": DataType.string} if classes else {}
    for kind, names in (("probabilities", classes), ("values", values)):
        answers |= {kind: Object([Property(name, DataType.double) for name in names])} if names else {}
    answers |= {
        "rejected": DataType.string,
        "unlike_training_images": DataType.boolean,
        "trained_on_synthetic_images": DataType.boolean,
    }
    outputs = Schema([ColSpec(kind, name, required=False) for name, kind in answers.items()])
    # MLflow decodes a binary column itself, and refuses a whole request if one value is not base64; a string column may
    # hold bytes, too.
    return ModelSignature(Schema([ColSpec(DataType.string, registered.COLUMN)]), outputs)


def _example() -> "pd.DataFrame":
    """Return an example of a request: one grey image."""
    import pandas as pd
    from PIL import Image

    file = BytesIO()
    Image.new("RGB", (8, 8), (128, 128, 128)).save(file, "PNG")
    return pd.DataFrame({registered.COLUMN: [file.getvalue()]})


def _crown(client: "MlflowClient", name: str, version: str) -> bool:
    """Make a version the champion, and the former one `previous`; return False if it is the champion already."""
    before = client.get_registered_model(name).aliases.get(CHAMPION)
    if before is not None and str(before) == version:
        return False
    if before is not None:
        client.set_registered_model_alias(name, PREVIOUS, str(before))
    client.set_registered_model_alias(name, CHAMPION, version)
    return True
