"""The views that `cnnstudy ui` links to, in headless Chromium: an MLflow that no longer opens them is seen here."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import chromium
import pytest
from playwright.sync_api import Page, sync_playwright
from tracking.finished_runs import METRICS, finish, write_metrics

from cnnstudy.tracking import store

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        chromium.PATH is None and not os.environ.get("CNNSTUDY_NEEDS_CHROMIUM"), reason="no Chromium here"
    ),
]

NETS = {"alexnet": 0.5, "vggnet": 0.75, "mobilenet": 0.625}
# Milliseconds, on a busy machine.
PATIENCE = 240_000
UI = "import sys; sys.argv[0] = 'cnnstudy'; from cnnstudy.cli import main; main()"
# What a run's description links to, and what is seen there.
LINKED = {"tuned-test-confusion": "tuned-test-confusion.png", "model": "accuracy_low"}
LINK = re.compile(r"^  (\w+), (\w+): (http\S+)$", re.MULTILINE)


@pytest.fixture(scope="module")
def links(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[tuple[str, str], str]]:
    """Yield the addresses that `cnnstudy ui` prints, by study and view; the server runs until the tests end."""
    root = tmp_path_factory.mktemp("root")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        for name in ("DVC_ROOT", "DVC_EXP_NAME", "MLFLOW_TRACKING_URI"):
            patch.delenv(name, raising=False)
        params = finish((*NETS, "xray-aug3", "xray-aug4"))
        for run, accuracy in NETS.items():
            write_metrics(params, run, METRICS | {"accuracy": accuracy})
    said = root / "said"
    # An earlier test's `mlflow.set_tracking_uri` stays in the environment.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("DVC", "MLFLOW_TRACKING"))}
    environment = {**inherited, **store.ENVIRONMENT, "PYTHONPATH": str(Path(store.__file__).parents[2])}
    with said.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-c", UI, "ui", "--port", str(port)],
            cwd=root, env=environment, stdout=file, stderr=file, start_new_session=True,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + PATIENCE / 1000
        while "Application startup complete" not in said.read_text():
            assert process.poll() is None, said.read_text()
            assert time.monotonic() < deadline, said.read_text()
            time.sleep(0.2)
        yield {(study, view): address for study, view, address in LINK.findall(said.read_text())}
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium.PATH, args=list(chromium.FLAGS))
        page = browser.new_page(viewport={"width": 2400, "height": 1000})
        page.set_default_timeout(PATIENCE)
        yield page
        browser.close()


def open_view(page: Page, address: str, run: str) -> None:
    """Open a view and wait for a run; from an empty page, since views at one path differ in the hash alone."""
    page.goto("about:blank")
    page.goto(address)
    page.get_by_role("link", name=run, exact=True).first.wait_for()


def test_each_study_has_its_views(links: dict[tuple[str, str], str]) -> None:
    assert set(links) == {(study, view) for study in ("faces", "xray") for view in ("nets", "curves", "ablations")}


def test_the_nets_are_a_flat_table_the_best_first(links: dict[tuple[str, str], str], page: Page) -> None:
    open_view(page, links["faces", "nets"], "alexnet")
    page.get_by_text("3 matching runs").first.wait_for()
    for column in ("accuracy_low", "accuracy_high", "recipe", "profile", "data"):
        page.get_by_text(column, exact=True).first.wait_for()
    rows = [page.get_by_role("link", name=net, exact=True).first.bounding_box() for net in NETS]
    heights = {net: box["y"] for net, box in zip(NETS, rows, strict=True) if box}
    assert sorted(heights, key=heights.__getitem__) == ["vggnet", "mobilenet", "alexnet"]


def test_one_click_from_there_a_run_links_to_its_confusion_matrix_and_model(
    links: dict[tuple[str, str], str], page: Page
) -> None:
    open_view(page, links["faces", "nets"], "vggnet")
    page.get_by_role("link", name="vggnet", exact=True).first.click()
    page.get_by_text("vggnet, tuned: accuracy 0.750 on test (0.250 to 0.625).").first.wait_for()
    top = page.url.partition("#")[0]
    its = {name: page.get_by_role("link", name=name, exact=True).get_attribute("href") for name in LINKED}
    for name, text in LINKED.items():
        page.goto(f"{top}{its[name]}")
        page.get_by_text(text, exact=True).first.wait_for()


def test_the_curves_are_side_by_side(links: dict[tuple[str, str], str], page: Page) -> None:
    open_view(page, links["faces", "curves"], "alexnet")
    for net in NETS:
        page.get_by_text(re.compile(rf"{net} \(base/val_accuracy\)")).first.wait_for()


def test_an_ablation_has_its_best_run_and_a_link_to_its_curve(links: dict[tuple[str, str], str], page: Page) -> None:
    open_view(page, links["xray", "ablations"], "ablation: depth")
    page.get_by_text("2 matching runs").first.wait_for()
    page.get_by_text("convolution layers").first.wait_for()
    page.get_by_role("link", name="ablation: depth", exact=True).first.click()
    page.get_by_role("link", name="curve", exact=True).first.wait_for()
