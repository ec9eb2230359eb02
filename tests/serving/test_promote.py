"""Promotion into a real registry, and what is registered, served over HTTP."""

import base64
import io
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import textwrap
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import keras
import mlflow
import numpy as np
import pandas as pd
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from PIL import Image
from serving import promotable
from serving.asgi import call as call_app

from cnnstudy import cli, trained
from cnnstudy.config.params import read_params
from cnnstudy.config.schema import Params
from cnnstudy.serving import choice, images, net, promote, registered
from cnnstudy.tracking import build, keys, store, upsert
from cnnstudy.tracking.address import shown
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
    """The working directory: a commit in which two runs may be promoted, and an image."""
    root = tmp_path_factory.mktemp("root")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("DVC_ROOT", "DVC_EXP_NAME", "MLFLOW_TRACKING_URI"):
            patch.delenv(name, raising=False)
        for name in ("AUTHOR", "COMMITTER"):
            patch.setenv(f"GIT_{name}_NAME", "a")
            patch.setenv(f"GIT_{name}_EMAIL", "a@localhost")
        patch.chdir(root)
        promotable.make(RUNS)
        subprocess.run(["git", "init", "--quiet", "--initial-branch=main"], check=True)
        subprocess.run(["git", "add", "params.yaml", "dvc.lock", "dvc.yaml"], check=True)
        subprocess.run(["git", "commit", "--quiet", "--message=start"], check=True)
        noise = np.random.default_rng(0).integers(0, 256, (90, 70, 3), np.uint8)
        Image.fromarray(noise).save("image.png")
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
    assert (tags["run"], tags["phase"], tags["seed"], tags["test_accuracy"]) == ("alexnet", "tuned", "0", "0.9000")
    assert (tags["git_commit"], tags["git_branch"], tags["git_dirty"]) == (head, "main", "false")
    assert keys.md5_tags(keys.read_lock(), "alexnet", promoted).items() <= tags.items()
    assert tags["cnnstudy.data_md5"] == files.md5(paths.images("faces"))
    run = client().get_run(version.run_id)
    assert run.data.tags[upsert.KEY] == tags[upsert.KEY] == keys.identity("alexnet", promoted).key
    assert version_of("xray", "champion").tags["test_accuracy"] == "0.9000"


def test_a_version_has_its_accuracy_its_data_and_a_card(promoted: Params) -> None:
    call("promote", "xray-aug4", "--seed", "7")
    version = version_of("xray", "champion")
    model = client().get_logged_model(re.findall("m-[0-9a-f]+", version.source)[0])
    assert [(each.key, each.value, each.dataset_name) for each in model.metrics] == [("accuracy", 0.8, "xray")]
    assert client().get_run(version.run_id).data.metrics["accuracy"] == 0.9  # of both seeds
    (data,) = (each for each in build.data_of(promoted, "xray") if each.split == "test")
    for said in (
        "Not for a test.",
        "Images are limited.",
        f"test: 40 images (digest {data.digest})",
        "0.800 on the split test",
    ):
        assert said in version.description
    assert "info" not in version.description
    link, card = version.description.split("\n\n", 1)
    assert link.endswith(f"/models/{model.model_id})")
    assert (folder_of("xray") / "README.md").read_text() == card


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
    assert '{"type": "string", "name": "image", "required": true}' in described
    assert all(f'"{name}"' in described for name in FACES)
    kinds = {path.suffix for path in folder.rglob("*") if path.is_file()}
    assert not kinds & {".pkl", ".pickle", ".joblib", ".pyc"}
    keras.models.load_model(folder / registered.FOLDER / registered.KERAS)  # in safe mode, without our code


def test_promoting_again_changes_nothing(promoted: Params, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = dump(root)
    call("promote", "alexnet")
    assert (
        capsys.readouterr().out
        == "faces version 1 is the champion already: alexnet, tuned, seed 0, test accuracy 0.900\n"
    )
    assert dump(root) == before


def test_a_champion_whose_files_are_gone_is_one_line_and_promoting_repairs_it(
    promoted: Params, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = folder_of("xray")
    shutil.move(folder, tmp_path / "gone")
    try:
        with pytest.raises(SystemExit) as end:
            call("predict", "--champion", "xray", "image.png")
        assert end.value.code == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "allowed: what `cnnstudy promote RUN` registers as xray" in line
        call("promote", "xray-aug4", "--seed", "7")
        assert "is the champion: xray-aug4, base, seed 7" in capsys.readouterr().out
        assert folder_of("xray") != folder
        call("predict", "--champion", "xray", "--json", "image.png")
        assert "probabilities" in capsys.readouterr().out
    finally:
        shutil.move(tmp_path / "gone", folder)


@pytest.mark.parametrize("name", [registered.KERAS, registered.CLASSES])
def test_a_champion_without_one_of_its_files_is_one_line_and_promoting_repairs_it(
    promoted: Params, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    folder = folder_of("xray")
    (folder / registered.FOLDER / name).unlink()
    with pytest.raises(SystemExit) as end:
        call("predict", "--champion", "xray", "image.png")
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{name}: gone from the registered model; `cnnstudy promote RUN` registers it anew" in line
    call("promote", "xray-aug4", "--seed", "7")
    assert "is the champion: xray-aug4, base, seed 7" in capsys.readouterr().out
    assert folder_of("xray") != folder
    call("predict", "--champion", "xray", "--json", "image.png")
    assert "probabilities" in capsys.readouterr().out


def test_what_is_missing_after_a_partial_pull_is_named_with_the_command(
    promoted: Params, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    missing = (paths.samples("xray"), paths.familiarity("xray"), paths.run_metrics("xray-aug4"))
    for number, path in enumerate(missing):
        shutil.move(path, tmp_path / "aside")
        try:
            if number:
                call("predict", "--run", "xray-aug4", "image.png")
            else:
                with pytest.raises(SystemExit):
                    call("predict", "--run", "xray-aug4", "image.png")
            assert f"{path}: no such file" in (said := capsys.readouterr().err)
            assert f"`dvc pull {path}` fetches it" in said
        finally:
            shutil.move(tmp_path / "aside", path)


def test_other_code_is_another_version(promoted: Params, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    its = keys.RunIdentity("", {})
    entry = promote.Promotable("faces", choice.choose(promoted, "alexnet", None, None), FACES, [], {}, its)
    before = entry.key
    (tmp_path / "registered.py").write_text("mended")
    monkeypatch.setattr(promote, "PACKAGE", tmp_path)
    assert (mended := entry.key) != before
    (tmp_path / "models").mkdir()
    (tmp_path / "models/lenet5.py").write_text("a net that this one is not")
    assert entry.key == mended


def test_the_champion_before_is_the_previous_one_and_can_come_back(
    promoted: Params, capsys: pytest.CaptureFixture[str]
) -> None:
    call("promote", "alexnet", "--phase", "base", "--seed", "7")
    assert capsys.readouterr().out == "faces version 2 is the champion: alexnet, base, seed 7, test accuracy 0.800\n"
    assert (version_of("faces", "champion").version, version_of("faces", "previous").version) == (2, 1)
    call("promote", "alexnet")
    assert (version_of("faces", "champion").version, version_of("faces", "previous").version) == (1, 2)
    assert len(client().search_model_versions("name = 'faces'")) == 2


def test_a_net_that_may_not_be_promoted_is_one_line(promoted: Params, capsys: pytest.CaptureFixture[str]) -> None:
    lenient = paths.PARAMS.read_text()
    paths.PARAMS.write_text(lenient.replace("minimum: 0.6", "minimum: 0.95"))
    try:
        with pytest.raises(SystemExit) as end:
            call("promote", "alexnet")
    finally:
        paths.PARAMS.write_text(lenient)
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        "error: metrics/runs/alexnet.json: tuned.test.accuracy_seeds: 0.900 of seed 0 found; allowed:"
    )


@pytest.mark.slow
@pytest.mark.parametrize("run", RUNS)
def test_the_champion_answers_as_the_run_does(promoted: Params, run: str, capsys: pytest.CaptureFixture[str]) -> None:
    study = promoted.runs[run].study
    call("predict", "--run", run, "--json", "image.png")
    by_run = capsys.readouterr().out
    call("predict", "--champion", study, "--json", "image.png")
    assert capsys.readouterr().out == by_run
    assert set(json.loads(by_run)["probabilities"]) <= set(promoted.studies[study].classes)


def test_an_answer_is_what_the_net_says_of_the_pixels_that_ingest_keeps(promoted: Params) -> None:
    from cnnstudy.data.decode import read_image
    from cnnstudy.models.assemble import class_probabilities

    for run in RUNS:
        its = choice.choose(promoted, run)
        model, classes = trained.load(promoted, run, its.folder), trained.classes(promoted, run)
        size = promoted.study_of(run).image_size
        pixels = read_image(Path("image.png"), size).pixels[None]
        expected = class_probabilities(model.predict(pixels.astype(np.float32) / 255, verbose=0))
        (answer,) = images.predictions(net.keras_net(model, classes), [images.in_file(Path("image.png"))])
        assert isinstance(answer, images.Prediction)
        np.testing.assert_allclose(answer.probabilities, expected[0], atol=1e-6)
        assert len(answer.probabilities) == len(classes)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--run", "nobody", "image.png"), "RUN: 'nobody' found; allowed: alexnet, xray-aug4"),
        (("--champion", "faces", "--seed", "0", "image.png"), "--seed: 0 found; allowed: only with --run"),
        (("--run", "alexnet", "--top", "0", "image.png"), "--top: 0 found; allowed: 1 or more"),
        (
            ("--run", "alexnet", "absent.png"),
            "absent.png: no such file or folder; allowed: an image, or a folder of images",
        ),
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
            call("predict", "--champion", "faces", "image.png")
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    where = f"sqlite:///{Path.cwd()}/elsewhere.db"
    assert line.startswith(f"error: {where}: no such store; allowed: what `cnnstudy promote RUN`")
    assert not Path("elsewhere.db").exists()


@pytest.mark.parametrize("arguments", [("promote", "alexnet"), ("predict", "--champion", "faces", "image.png")])
@pytest.mark.parametrize(
    "address", ["http://anna:pa/s3cr3t@127.0.0.1:9", "postgresql://127.0.0.1:po/?token=s3cr3t", "htp://s3cr3t@[::1"]
)
def test_a_store_that_refuses_is_one_line_without_its_password(
    promoted: Params, address: str, arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", address)
        with pytest.raises(SystemExit, match="2"):
            call(*arguments)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {shown(address)}: ")
    assert "s3cr3t" not in line


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@contextmanager
def serving(root: Path, port: int, *command: str, **variables: str) -> Iterator[str]:
    """The address of a server of a model that a command starts."""
    folder = Path(sys.executable).parent
    environment = (
        os.environ | {"MLFLOW_TRACKING_URI": store.uri(), "PATH": f"{folder}:{os.environ['PATH']}"} | variables
    )
    with (root / "serve.log").open("wb") as log:
        process = subprocess.Popen(
            [str(folder / command[0]), *command[1:], "--port", str(port)], cwd=root, env=environment, stdout=log,
            stderr=log, start_new_session=True,
        )  # fmt: skip
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


@pytest.fixture(scope="module")
def served(promoted: Params, root: Path) -> Iterator[str]:
    """The address of `mlflow models serve` of the champion of faces."""
    command = ("mlflow", "models", "serve", "-m", "models:/faces@champion", "--env-manager", "local")
    with serving(root, free_port(), *command) as address:
        yield address


def post(address: str, content: Any, kind: str = "application/json") -> tuple[int, Any]:
    """Post a request, and return the answer's status and text."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    request = urllib.request.Request(f"{address}/invocations", body, {"Content-Type": kind})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def as_base64(kind: str) -> str:
    file = io.BytesIO()
    with Image.open("image.png") as image:
        image.save(file, kind)
    return base64.b64encode(file.getvalue()).decode()


@pytest.mark.slow
def test_a_served_champion_answers_png_and_jpeg(
    served: str, promoted: Params, capsys: pytest.CaptureFixture[str]
) -> None:
    call("predict", "--champion", "faces", "--json", "--top", "8", "image.png")
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
        ([{"image": base64.b64encode(b"hello").decode()}], 400, "image 0: not an image"),
        ([{"image": ""}], 400, "image 0: empty file"),
        ([{"image": "a"}], 400, "image 0: not base64"),
        ([{"image": 5}], 400, "image 0: neither a file's bytes nor base64 text"),
        ([{"image": 5}, {"image": None}], 400, "image 1: neither a file's bytes nor base64 text"),
        ([{"image": ""}] * 1001, 413, "1001 images in one request; allowed: at most 1000 (CNNSTUDY_MAX_IMAGES)"),
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
def test_of_several_pictures_a_bad_one_is_answered_in_its_place(served: str) -> None:
    with Image.open("image.png") as image:
        image.save("cut.png")
    cut = base64.b64encode(Path("cut.png").read_bytes()[:200]).decode()
    sent = [{"image": each} for each in (as_base64("PNG"), "", cut, as_base64("JPEG"))]
    code, answer = post(served, {"dataframe_records": sent})
    assert code == 200
    first, empty, broken, last = answer["predictions"]
    assert empty == {"rejected": "empty file"}
    assert broken["rejected"].startswith("broken image: ")
    warnings = {"unlike_training_images", "trained_on_synthetic_images"}
    assert set(first) == set(last) == {"class", "probabilities"} | warnings
    assert first["trained_on_synthetic_images"] is True


@pytest.mark.slow
def test_our_own_server_takes_no_large_request(promoted: Params, root: Path) -> None:
    with serving(root, free_port(), "cnnstudy", "serve", "faces", CNNSTUDY_MAX_REQUEST_MB="2") as address:
        code, answer = post(address, {"dataframe_records": [{"image": as_base64("PNG")}]})
        assert (code, len(answer["predictions"])) == (200, 1)
        code, said = post(address, {"dataframe_records": [{"image": "a" * 30_000_000}]})
        assert (code, said) == (413, "28.6 MiB in one request; allowed: at most 2 MiB (CNNSTUDY_MAX_REQUEST_MB)")
        assert "The champion of faces (Ctrl-C ends it): " in (root / "serve.log").read_text()


@pytest.mark.slow
def test_a_served_champion_gives_memory_back(served: str) -> None:
    """Eight images of 64 megapixels at once take less than 1.5 GB more while they are answered, and nothing after."""
    (server,) = (each for each in psutil.process_iter() if each.ppid() == os.getpid() and served[-5:] in each.cmdline())
    below = [server, *server.children(recursive=True)]

    def used() -> float:
        return sum(each.memory_info().rss for each in below) / 1e6

    file = io.BytesIO()
    Image.new("RGB", (8000, 8000), (200, 90, 3)).save(file, "PNG")
    body = json.dumps({"dataframe_records": [{"image": base64.b64encode(file.getvalue()).decode()}]}).encode()
    post(served, {"dataframe_records": [{"image": as_base64("PNG")}]})
    before, most = used(), 0.0
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(post, served, body) for _ in range(8)]
        while not all(each.done() for each in asked):
            most = max(most, used())
            time.sleep(0.02)
    assert [each.result()[0] for each in asked] == [200] * 8
    assert most - before < 1500
    deadline = time.monotonic() + 60
    while used() - before > 150:
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.fixture(scope="module")
def model(promoted: Params) -> Any:
    """The champion of faces as MLflow loads it."""
    mlflow.set_tracking_uri(store.uri())
    return mlflow.pyfunc.load_model("models:/faces@champion")


def test_in_python_a_table_has_the_bytes_of_files(model: Any) -> None:
    by_bytes, none, by_text = model.predict(
        pd.DataFrame({"image": [Path("image.png").read_bytes(), b"none", as_base64("PNG")]})
    )
    assert by_bytes["probabilities"] == pytest.approx(by_text["probabilities"], abs=1e-6)
    assert none == {"rejected": "not an image"}


@pytest.fixture(scope="module")
def app(model: Any) -> Any:
    """MLflow's server of the champion, within this process."""
    from mlflow.pyfunc import scoring_server  # warns of itself

    return scoring_server.init(model)


ODD: list[Any] = ["", "a", "data:image/png;base64,", "=", "\x00", "\ud800", None, 5, -0.5, True, [], {}, [[]], 10**400]
VALUES = st.one_of(
    st.sampled_from(ODD),
    st.binary(max_size=40).map(lambda content: base64.b64encode(content).decode()), st.text(max_size=9),
)  # fmt: skip
ROWS = st.lists(VALUES, max_size=4)
LAYOUTS: list[Callable[[list[Any]], dict[str, Any]]] = [
    lambda rows: {"dataframe_records": [{"image": each} for each in rows]},
    lambda rows: {"dataframe_split": {"columns": ["image"], "data": [[each] for each in rows]}},
    lambda rows: {"inputs": {"image": rows}},
    lambda rows: {"instances": [{"image": each} for each in rows]},
]


@settings(max_examples=150, derandomize=True)
@given(rows=ROWS, layout=st.sampled_from(LAYOUTS), at=st.integers(0, 4))
def test_whatever_a_request_holds_it_is_answered(app: Any, rows: list[Any], layout: Any, at: int) -> None:
    rows.insert(at, good := as_base64("PNG"))
    code, said = call_app(app, json.dumps(layout(rows)).encode())
    assert code in (200, 400)
    if code == 200:
        answers = json.loads(said)["predictions"]
        assert len(answers) == len(rows)
        assert "class" in answers[rows.index(good)]
    else:
        assert "message" in json.loads(said)
