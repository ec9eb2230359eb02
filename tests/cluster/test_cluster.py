"""Rebuilds on a cluster of real processes: what lands, and what is left after something was killed or refused."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster.toy import Cluster, Toy, cluster, wait_until

pytestmark = pytest.mark.slow


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return Toy(tmp_path / "repository")


@pytest.fixture
def two(toy: Toy, tmp_path: Path) -> Iterator[Cluster]:
    """Two workers, whose trainings take three seconds."""
    with cluster(tmp_path / "nodes", toy, SECONDS="3") as found:
        yield found


def add_remote(toy: Toy, folder: Path) -> None:
    command = [sys.executable, "-m", "dvc", "remote", "add", "--local", "lab", str(folder)]
    subprocess.run(command, cwd=toy.path, env=toy.environment, check=True, capture_output=True)


def in_report(toy: Toy) -> list[str]:
    return [line.split()[1] for line in (toy.path / "report.txt").read_text().splitlines()]


def test_stages_run_on_workers_and_dvc_has_nothing_left_to_do(toy: Toy, two: Cluster) -> None:
    output = toy.rebuilt(two.address)
    assert "2 workers; data travels by the shared cache" in output
    assert sorted(toy.begun()) == ["a", "b", "c"]
    assert in_report(toy) == ["a", "b", "c"]
    assert toy.is_up_to_date()
    assert not subprocess.run(["git", "status", "--porcelain", "--", "src"], cwd=toy.path, check=True,
                              capture_output=True).stdout  # fmt: skip


def test_data_travels_by_a_remote_and_an_uncommitted_edit_with_the_code(toy: Toy, two: Cluster, tmp_path: Path) -> None:
    add_remote(toy, tmp_path / "remote")
    (toy.path / ".gitignore").write_text("/data.csv\n/models\n/report.txt\n/ignored\n")
    (toy.path / "ignored").write_text("secret")
    toy.rebuilt(two.address, "--remote=lab")
    script = toy.path / "src/train.py"
    script.write_text(script.read_text().replace('{name}")', '{name}-edited")'))
    (toy.path / "params.yaml").write_text((toy.path / "params.yaml").read_text().replace("100", "50"))
    toy.rebuilt(two.address, "--remote=lab")
    # The workers had the older data.csv.
    assert (toy.path / "report.txt").read_text().splitlines() == [f"1225.0 {name}-edited" for name in "abc"]
    assert toy.is_up_to_date()
    assert not list((tmp_path / "nodes").rglob("ignored"))


def test_a_killed_worker_s_stage_runs_again(toy: Toy, two: Cluster) -> None:
    process = toy.rebuild(two.address)
    wait_until(lambda: len(toy.begun()) == 2, "two trainings run")
    two.kill_inner("a")
    output, _ = process.communicate(timeout=90)
    assert process.returncode == 0, output
    assert len(toy.begun()) == 4
    assert in_report(toy) == ["a", "b", "c"]
    assert toy.is_up_to_date()


def test_a_killed_coordinator_finds_what_went_on_without_it(toy: Toy, two: Cluster) -> None:
    process = toy.rebuild(two.address)
    wait_until(lambda: len(toy.begun()) == 2, "two trainings run")
    process.kill()
    process.communicate(timeout=90)
    wait_until(lambda: toy.log.read_text().count("ended") == 3, "all trainings end")
    toy.rebuilt(two.address)
    assert sorted(toy.begun()) == ["a", "b", "c"]
    assert toy.is_up_to_date()


def test_after_the_scheduler_was_killed_what_has_landed_stays(toy: Toy, two: Cluster) -> None:
    process = toy.rebuild(two.address)
    wait_until(lambda: len(toy.begun()) == 3, "the third training runs")
    wait_until(lambda: "train@" in (toy.path / "dvc.lock").read_text(), "a stage has landed")
    two.kill("scheduler")
    output, _ = process.communicate(timeout=90)
    assert process.returncode == 1
    assert "the scheduler" in output.splitlines()[-1]
    for name in ("a", "b"):
        two.kill(name)
    landed = {stage.partition("@")[2] for stage in toy.locked() if stage.startswith("train@")}
    assert landed
    before = toy.begun()
    two.start_scheduler()
    two.start_worker("a")
    toy.rebuilt(two.address)
    assert toy.is_up_to_date()
    assert not landed & set(toy.begun()[len(before) :])


def test_a_failing_stage_stops_those_that_wait(tmp_path: Path) -> None:
    toy = Toy(tmp_path / "repository", runs="abcdefgh")
    (toy.log.parent / "fail-a").touch()
    with cluster(tmp_path / "nodes", toy, SECONDS="3") as nodes:
        output = toy.rebuilt(nodes.address, code=1)
        assert output.splitlines()[-1].startswith("error: train@a: the loss is no longer a number (on ")
        # Others ran beside it, and workers may have begun some before the news came; none was tried twice.
        begun = toy.begun()
        assert len(begun) < 8
        assert len(set(begun)) == len(begun)
        landed = {name.partition("@")[2] for name in toy.locked() - {"prepare"}}
        assert landed
        assert landed <= set(begun) - {"a"}
        (toy.log.parent / "fail-a").unlink()
        toy.rebuilt(nodes.address)
        assert set(toy.begun()[len(begun) :]).isdisjoint(landed)
        assert toy.is_up_to_date()


def test_without_the_remote_nothing_is_lost(toy: Toy, two: Cluster, tmp_path: Path) -> None:
    remote = tmp_path / "remote"
    add_remote(toy, remote)
    process = toy.rebuild(two.address, "--remote=lab")
    wait_until(lambda: len(toy.begun()) == 2, "two trainings run")
    remote.rename(tmp_path / "away")
    remote.touch()  # a file, in which no folder can be made
    output, _ = process.communicate(timeout=90)
    assert process.returncode == 1
    # The workers notice it, or the coordinator.
    assert re.search(r"dvc (push|pull): |--remote lab: ", output.splitlines()[-1]), output
    remote.unlink()
    (tmp_path / "away").rename(remote)
    toy.rebuilt(two.address, "--remote=lab")
    assert toy.is_up_to_date()
    # A worker's DVC keeps what it could not send, so that no worker trains the same twice.
    assert len(toy.begun()) <= 2 * len(set(toy.begun()))


def test_a_worker_without_disk_is_not_asked_again(toy: Toy, tmp_path: Path) -> None:
    with cluster(tmp_path / "nodes", toy, workers=()) as nodes:
        full = nodes.root / "full"
        full.mkdir(parents=True)
        (full / "cnnstudy").touch()  # a file, in which no workspace can be made
        nodes.start_worker("full", CNNSTUDY_CLUSTER=str(full / "cnnstudy"))
        nodes.start_worker("good")
        output = toy.rebuilt(nodes.address)
        assert "warning: " in output
        assert "once more, on another node" in output
        assert sorted(toy.begun()) == ["a", "b", "c"]
        assert toy.is_up_to_date()


def test_a_node_with_other_packages_is_refused(toy: Toy, tmp_path: Path) -> None:
    other = tmp_path / "other/dvc-0.0.1.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: dvc\nVersion: 0.0.1\n")
    path = f"{other.parent}{os.pathsep}{toy.environment['PYTHONPATH']}"
    with cluster(tmp_path / "nodes", toy, workers=()) as nodes:
        nodes.start_worker("other", PYTHONPATH=path)
        output = toy.rebuilt(nodes.address, code=2)
        assert "packages unlike the lock file (dvc 0.0.1, not " in output.splitlines()[-1]
        nodes.start_worker("good")
        output = toy.rebuilt(nodes.address)
        assert "is not used: " in output
        assert toy.is_up_to_date()


def test_two_coordinators_share_a_cluster(toy: Toy, two: Cluster, tmp_path: Path) -> None:
    """Train once what two rebuilds need."""
    second = Toy(tmp_path / "second", runs="ad", log=toy.log)
    for each in (toy, second):
        add_remote(each, tmp_path / "remote")
    processes = [each.rebuild(two.address, "--remote=lab") for each in (toy, second)]
    outputs = [process.communicate(timeout=90)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert toy.is_up_to_date()
    assert second.is_up_to_date()
    assert in_report(second) == ["a", "d"]
    assert sorted(toy.begun()) == ["a", "b", "c", "d"]


def test_an_edit_meanwhile_is_noticed(toy: Toy, two: Cluster) -> None:
    process = toy.rebuild(two.address)
    wait_until(lambda: len(toy.begun()) == 2, "two trainings run")
    (toy.path / "src/train.py").write_text((toy.path / "src/train.py").read_text() + "# edited\n")
    output, _ = process.communicate(timeout=90)
    assert process.returncode == 1
    assert "made from other code, data or parameters" in output.splitlines()[-1]
    assert toy.locked() == {"prepare"}
    toy.rebuilt(two.address)
    assert toy.is_up_to_date()


def test_an_interrupted_rebuild_ends_its_trainings(toy: Toy, tmp_path: Path) -> None:
    with cluster(tmp_path / "nodes", toy, SECONDS="60") as nodes:
        process = toy.rebuild(nodes.address)
        wait_until(lambda: len(toy.begun()) == 2, "two trainings run")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
        assert process.returncode == 130
        assert toy.log.read_text().count("ended") == 0
