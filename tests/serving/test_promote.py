"""Promotion into a real registry, and what is registered, served over HTTP."""

import base64
import io
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import textwrap
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from PIL import Image
from serving import promotable

from cnnstudy import cli, trained
from cnnstudy.config.params import read_params
from cnnstudy.config.schema import Params
from cnnstudy.serving import choice, net, pictures, promote, registered
from cnnstudy.tracking import keys, store
from cnnstudy.workspace import files, paths

pytestmark = [
    # Of SQLAlchemy, about MLflow's own tables, of pandas, about MLflow's own calls, and of MLflow, about itself.
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning"),
    pytest.mark.filterwarnings("ignore:Operation with range is deprecated"),
]

RUNS = ("alexnet", "xray-aug4")
FACES = ("anger", "contempt", "disgust", "fear", "happy", "neutral", "sad", "surprise")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The working directory: a commit in which two runs may be promoted, and a picture."""
    root = tmp_path_factory.mktemp("root")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("DVC_ROOT", "DVC_EXP_NAME", "MLFLOW_TRACKING_URI"):
            patch.delenv(name, raising=False)
        for name in ("AUTHOR", "COMMITTER"):
            patch.setenv(f"GIT_{name}_NAME", "a")
            patch.setenv(f"GIT_{name}_EMAIL", "a@localhost")
        patch.chdir(root)
        (root / ".dvc").mkdir()
        promotable.make(RUNS)
        subprocess.run(["git", "init", "--quiet", "--initial-branch=main"], check=True)
        subprocess.run(["git", "add", "params.yaml", "dvc.lock"], check=True)
        subprocess.run(["git", "commit", "--quiet", "--message=start"], check=True)
        noise = np.random.default_rng(0).integers(0, 256, (90, 70, 3), np.uint8)
        Image.fromarray(noise).save("picture.png")
        yield root


def call(*arguments: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["cnnstudy", *arguments])
        cli.main()


def client() -> MlflowClient:
    with store.lock(10):
        return store.client()


def version_of(study: str, alias: str) -> ModelVersion:
    return client().get_model_version_by_alias(study, alias)


def dump(root: Path) -> list[str]:
    """Everything in the store."""
    with sqlite3.connect(root / "mlflow.db") as connection:
        return list(connection.iterdump())


@pytest.fixture(scope="module")
def promoted(root: Path) -> Params:
    """Both runs in the registry."""
    for run in RUNS:
        call("promote", run)
    return read_params()


def folder_of(study: str) -> Path:
    """The folder of a champion in the store."""
    return Path(client().get_model_version_download_uri(study, version_of(study, "champion").version)[len("file://") :])


def test_a_version_says_where_it_comes_from(promoted: Params) -> None:
    version = version_of("faces", "champion")
    tags = version.tags
    head = subprocess.run(["git", "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    assert (tags["run"], tags["phase"], tags["seed"], tags["val_accuracy"]) == ("alexnet", "tuned", "0", "0.9000")
    assert (tags["git_commit"], tags["git_branch"], tags["git_dirty"]) == (head, "main", "false")
    assert keys.md5_tags(keys.read_lock(), "alexnet", promoted).items() <= tags.items()
    assert tags["data_md5"] == files.md5(paths.images("faces"))
    run = client().get_run(version.run_id)
    assert run.data.tags["run_key"] == tags["run_key"] == keys.run_key("alexnet", promoted)
    assert version_of("xray", "champion").tags["test_accuracy"] == "0.9000"


def test_what_is_registered_has_signature_and_pinned_packages_and_no_pickle(promoted: Params) -> None:
    folder = folder_of("faces")
    requirements = (folder / "requirements.txt").read_text().splitlines()
    locked = (promotable.ROOT / "requirements.lock").read_text()
    *pinned, constraints = requirements
    assert {line.partition("==")[0] for line in pinned} == {
        "keras", "mlflow", "numpy", "pandas", "pillow", "tensorflow"
    }  # fmt: skip
    assert all(f"\n{line} " in f"\n{locked}" for line in pinned)
    assert constraints == "-c constraints.txt"
    assert set(pinned) <= set((folder / "constraints.txt").read_text().splitlines())
    described = (folder / "MLmodel").read_text()
    assert '{"type": "binary", "name": "image", "required": true}' in described
    assert all(f'"{name}"' in described for name in FACES)
    kinds = {path.suffix for path in folder.rglob("*") if path.is_file()}
    assert not kinds & {".pkl", ".pickle", ".joblib", ".pyc"}
    keras.models.load_model(folder / registered.FOLDER / registered.KERAS)  # in safe mode, without our code


def test_promoting_again_changes_nothing(promoted: Params, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = dump(root)
    call("promote", "alexnet")
    assert (
        capsys.readouterr().out
        == "faces version 1 is the champion already: alexnet, tuned, seed 0, val accuracy 0.900\n"
    )
    assert dump(root) == before


def test_other_code_is_another_version(promoted: Params, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    entry = promote.Entry("faces", choice.choose(promoted, "alexnet", None, None), FACES, [], {})
    before = entry.key
    (tmp_path / "registered.py").write_text("mended")
    monkeypatch.setattr(promote, "PACKAGE", tmp_path)
    assert entry.key != before


def test_the_champion_before_is_the_previous_one_and_can_come_back(
    promoted: Params, capsys: pytest.CaptureFixture[str]
) -> None:
    call("promote", "alexnet", "--phase", "base", "--seed", "7")
    assert capsys.readouterr().out == "faces version 2 is the champion: alexnet, base, seed 7, val accuracy 0.800\n"
    assert (version_of("faces", "champion").version, version_of("faces", "previous").version) == (2, 1)
    call("promote", "alexnet")
    assert (version_of("faces", "champion").version, version_of("faces", "previous").version) == (1, 2)
    assert len(client().search_model_versions("name = 'faces'")) == 2


def test_a_net_that_may_not_be_promoted_is_one_line(promoted: Params, capsys: pytest.CaptureFixture[str]) -> None:
    lenient = paths.PARAMS.read_text()
    paths.PARAMS.write_text(lenient.replace("faces: 0.6", "faces: 0.95"))
    try:
        with pytest.raises(SystemExit) as end:
            call("promote", "alexnet")
    finally:
        paths.PARAMS.write_text(lenient)
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        "error: metrics/runs/alexnet.json: tuned.val.accuracy_seeds: 0.900 of seed 0 found; allowed:"
    )


@pytest.mark.slow
@pytest.mark.parametrize("run", RUNS)
def test_the_champion_answers_as_the_run_does(promoted: Params, run: str, capsys: pytest.CaptureFixture[str]) -> None:
    study = promoted.runs[run].study
    call("predict", "--run", run, "--json", "picture.png")
    by_run = capsys.readouterr().out
    call("predict", "--champion", study, "--json", "picture.png")
    assert capsys.readouterr().out == by_run
    assert set(json.loads(by_run)["probabilities"]) <= set(promoted.study(study).classes)


def test_an_answer_is_what_the_net_says_of_the_pixels_that_ingest_keeps(promoted: Params) -> None:
    from cnnstudy.data.decode import read_image
    from cnnstudy.nets.build import class_probabilities

    for run in RUNS:
        its = choice.choose(promoted, run)
        model, classes = trained.load(promoted, run, its.folder), trained.classes(promoted, run)
        size = promoted.study(promoted.runs[run].study).image_size
        pixels = read_image(Path("picture.png"), size).pixels[None]
        expected = class_probabilities(model.predict(pixels.astype(np.float32) / 255, verbose=0))
        (answer,) = pictures.answers(net.keras_net(model, classes), [pictures.in_file(Path("picture.png"))])
        assert isinstance(answer, np.ndarray)
        np.testing.assert_allclose(answer, expected[0], atol=1e-6)
        assert len(answer) == len(classes)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--run", "nobody", "picture.png"), "RUN: 'nobody' found; allowed: alexnet, xray-aug4"),
        (("--champion", "faces", "--seed", "0", "picture.png"), "--seed: 0 found; allowed: beside --run only"),
        (("--run", "alexnet", "--top", "0", "picture.png"), "--top: 0 found; allowed: 1 or more"),
        (("--run", "alexnet", "absent.png"), "absent.png: no picture that can be read"),
    ],
)
def test_a_mistake_is_one_line(
    promoted: Params, arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        call("predict", *arguments)
    assert end.value.code == 2
    assert capsys.readouterr().err == f"error: {said}\n"


def test_no_store_is_one_line_and_makes_none(promoted: Params, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", "sqlite:///elsewhere.db")
        with pytest.raises(SystemExit) as end:
            call("predict", "--champion", "faces", "picture.png")
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    where = f"sqlite:///{Path.cwd()}/elsewhere.db"
    assert line.startswith(f"error: {where}: no such store; allowed: what `cnnstudy promote RUN`")
    assert not Path("elsewhere.db").exists()


@pytest.fixture(scope="module")
def served(promoted: Params, root: Path) -> Iterator[str]:
    """The address of `mlflow models serve` of the champion of faces."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [
        str(Path(sys.executable).with_name("mlflow")),
        "models",
        "serve",
        "--model-uri",
        "models:/faces@champion",
    ]
    command += ["--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)]
    environment = os.environ | {
        "MLFLOW_TRACKING_URI": store.uri(),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    with (root / "serve.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=root, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        deadline = time.monotonic() + 180
        while True:
            assert process.poll() is None, (root / "serve.log").read_text()[-3000:]
            assert time.monotonic() < deadline, (root / "serve.log").read_text()[-3000:]
            with suppress(OSError, urllib.error.URLError):
                if urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5).status == 200:
                    break
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def post(address: str, content: Any, kind: str = "application/json") -> tuple[int, Any]:
    """Status and answer."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    request = urllib.request.Request(f"{address}/invocations", body, {"Content-Type": kind})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def as_base64(kind: str) -> str:
    file = io.BytesIO()
    with Image.open("picture.png") as image:
        image.save(file, kind)
    return base64.b64encode(file.getvalue()).decode()


@pytest.mark.slow
def test_a_served_champion_answers_png_and_jpeg(
    served: str, promoted: Params, capsys: pytest.CaptureFixture[str]
) -> None:
    call("predict", "--champion", "faces", "--json", "--top", "8", "picture.png")
    expected = json.loads(capsys.readouterr().out)
    status, answer = post(served, {"dataframe_records": [{"image": as_base64("PNG")}, {"image": as_base64("JPEG")}]})
    assert status == 200
    png, jpeg = answer["predictions"]
    assert png["class"] == expected["class"]
    for name in FACES:
        assert png["probabilities"][name] == pytest.approx(expected["probabilities"][name], abs=1e-5)
        assert jpeg["probabilities"][name] == pytest.approx(expected["probabilities"][name], abs=0.1)
    for body in (
        {"dataframe_split": {"columns": ["image"], "data": [[as_base64("PNG")]]}},
        {"inputs": {"image": [as_base64("PNG")]}},
        {"inputs": {"image": ["\n".join(textwrap.wrap(as_base64("PNG"), 76))]}},  # as the command base64 has it
    ):
        status, answer = post(served, body)
        assert status == 200
        assert answer["predictions"][0]["probabilities"] == pytest.approx(png["probabilities"], abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "status", "reason"),
    [
        ([{"image": base64.b64encode(b"hello").decode()}], 400, "picture 0: not an image"),
        ([{"image": ""}], 400, "picture 0: empty file"),
        ([{"image": "a"}], 400, "Invalid base64-encoded string"),
        ([{"image": 5}], 400, "encoding without a string argument"),
        ([{"picture": "aGVsbG8="}], 400, "Model is missing inputs ['image']"),
        (b"{", 400, "Ensure that input is a valid JSON formatted string"),
        (b"\x89PNG", 415, "only supports the following content types"),
    ],
)  # fmt: skip
def test_what_is_no_picture_is_refused_with_the_reason(served: str, content: Any, status: int, reason: str) -> None:
    body = content if isinstance(content, bytes) else {"dataframe_records": content}
    code, said = post(served, body, "image/png" if status == 415 else "application/json")
    assert code == status
    assert reason in said


@pytest.mark.slow
@pytest.mark.slow
def test_of_several_pictures_each_bad_one_is_named(served: str) -> None:
    with Image.open("picture.png") as image:
        image.save("cut.png")
    cut = base64.b64encode(Path("cut.png").read_bytes()[:200]).decode()
    code, said = post(served, {"dataframe_records": [{"image": each} for each in (as_base64("PNG"), "", cut)]})
    assert code == 400
    assert "picture 1: empty file; picture 2: broken image: " in said
