"""A team's server: who may, records and promotes through it; who may not is refused; no password is left anywhere."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import team_server
import yaml
from mlflow import MlflowClient
from serving import promotable
from team_server import Team

from cnnstudy import cli
from cnnstudy.config.schema import Params
from cnnstudy.tracking import live, store, upsert, write
from cnnstudy.workspace import paths

pytestmark = [
    pytest.mark.slow,
    # Of SQLAlchemy, about MLflow's own tables, of pandas, about MLflow's own calls, and of MLflow, about itself.
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning"),
    pytest.mark.filterwarnings("ignore:Operation with range is deprecated"),
]

NAME = "alexnet"
# One who trains, and one who has a password and no rights.
ANNA, BEN = "anna", "ben"


@pytest.fixture(scope="module")
def team() -> Iterator[Team]:
    """A server with two users beside the administrator."""
    with team_server.running() as team:
        for user in (ANNA, BEN):
            team.add_user(user)
        yield team


@pytest.fixture(scope="module")
def params(team: Team, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Params]:
    """The workspace of one run, which may be promoted."""
    root = tmp_path_factory.mktemp("root")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("DVC_ROOT", "DVC_EXP_NAME"):
            patch.delenv(name, raising=False)
        # Nobody waits here, while a busy machine may be slow.
        patch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")
        patch.setattr(write, "LIMIT", 120)
        patch.setattr(live, "WAIT", 120)
        patch.chdir(root)
        yield promotable.make((NAME,))


def sign_in(patch: pytest.MonkeyPatch, team: Team, user: str) -> None:
    patch.setenv("MLFLOW_TRACKING_URI", team.address)
    patch.setenv("MLFLOW_TRACKING_USERNAME", user)
    patch.setenv("MLFLOW_TRACKING_PASSWORD", team.passwords[user])


def call(patch: pytest.MonkeyPatch, *arguments: str) -> None:
    patch.setattr(sys, "argv", ["cnnstudy", *arguments])
    cli.main()


def test_a_training_is_recorded_live_and_whole(
    team: Team, params: Params, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    sign_in(monkeypatch, team, ANNA)
    shown = params.model_copy(update={"tracking": params.tracking.model_copy(update={"live_after": 0.0})})
    with live.reporting(shown, NAME, "base") as report:
        report(0, {"epoch": 1, "loss": 1.0})
    (run,) = MlflowClient(team.address).search_runs(["1"], f"tags.kind = 'net' and tags.`{upsert.LIVE}` != ''")
    assert run.info.status == "FINISHED"
    write.record_run(params, NAME)
    (run,) = MlflowClient(team.address).search_runs(["1"], f"tags.kind = 'net' and tags.`{upsert.MODEL}` != ''")
    assert run.info.artifact_uri.startswith("mlflow-artifacts:")
    assert upsert.RECORD in run.data.tags
    assert capfd.readouterr().err == ""


def test_who_has_no_rights_is_refused_in_one_line(
    team: Team, params: Params, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    sign_in(monkeypatch, team, BEN)
    write.record_run(params, NAME)
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"warning: {NAME}: not recorded in MLflow (")
    assert "Permission denied" in line
    with pytest.raises(SystemExit) as end:
        call(monkeypatch, "promote", NAME)
    assert end.value.code == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"error: {team.address}: ")
    assert "Permission denied" in line


def test_a_wrong_password_is_refused_in_one_line(
    team: Team, params: Params, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    sign_in(monkeypatch, team, ANNA)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "0" * 24)
    write.record_run(params, NAME)
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"warning: {NAME}: not recorded in MLflow (")
    assert "not authenticated" in line


def test_a_net_is_promoted_and_used_through_the_server_by_who_may(
    team: Team, params: Params, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    sign_in(monkeypatch, team, ANNA)
    for said in ("champion", "champion already"):
        call(monkeypatch, "promote", NAME)
        assert capfd.readouterr().out == f"faces version 1 is the {said}: {NAME}, tuned, seed 0, test accuracy 0.900\n"
    Path("image.png").write_bytes((team_server.ROOT / "docs/finding.png").read_bytes())
    call(monkeypatch, "predict", "--champion", "faces", "image.png")
    by_champion = capfd.readouterr().out
    call(monkeypatch, "predict", "--run", NAME, "image.png")
    assert capfd.readouterr().out == by_champion
    sign_in(monkeypatch, team, BEN)
    with pytest.raises(SystemExit) as end:
        call(monkeypatch, "predict", "--champion", "faces", "image.png")
    assert end.value.code == 2
    assert "Permission denied" in capfd.readouterr().err
    # As the README has it: who owns a study's experiment and model gives rights to them.
    for kind, resource in (("experiment", "1"), ("registered_model", "faces")):
        right = {"username": BEN, "resource_type": kind, "resource_id": resource, "permission": "EDIT"}
        team.ask(ANNA, "3.0/mlflow/users/permissions/grant", right)
    call(monkeypatch, "predict", "--champion", "faces", "image.png")
    assert capfd.readouterr().out == by_champion
    call(monkeypatch, "promote", NAME, "--seed", "7")
    assert capfd.readouterr().out.startswith("faces version 2 is the champion: ")


def test_no_password_is_left_in_records_logs_artifacts_or_the_workspace(team: Team, params: Params) -> None:
    """The database's files and the workspace, as bytes: parameters, tags, artifacts and logs are in there."""
    secret = re.compile("|".join(team.passwords.values()).encode())
    assert len(team.passwords) == 5
    looked = [path for root in (team.folder, Path.cwd()) for path in root.rglob("*") if path.is_file()]
    assert {"mlflow.log", "database.log", "params.yaml", "model.keras", "MLmodel"} <= {path.name for path in looked}
    assert any(b"alexnet" in path.read_bytes() for path in looked if path.is_relative_to(team.folder / "database"))
    assert [path for path in looked if secret.search(path.read_bytes())] == []


def test_what_git_has_of_the_server_names_no_password() -> None:
    services = yaml.safe_load((team_server.ROOT / "compose.yaml").read_text())["services"]
    given = {key: value for service in services.values() for key, value in service["environment"].items()}
    secret = {key: value for key, value in given.items() if re.search("PASSWORD|SECRET|ADMIN", key)}
    assert len(secret) == 5
    assert all(re.fullmatch(r"\$\{\w+:\?\}", value) for value in secret.values())
    assert services["mlflow"]["ports"] == ["127.0.0.1:5000:5000"]
    assert "ports" not in services["database"]
    assert not re.search("password *=", (team_server.ROOT / "server/auth.ini").read_text())


def test_an_address_with_a_password_is_told_without_it(
    params: Params, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:1")
    monkeypatch.setattr(store, "ENVIRONMENT", {**store.ENVIRONMENT, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"})
    for command in (("ui",), ("promote", NAME)):
        with pytest.raises(SystemExit) as end:
            call(monkeypatch, *command)
        assert end.value.code == 2
        assert "secret" not in capfd.readouterr().err
    assert paths.LOCK.exists()
