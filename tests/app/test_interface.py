"""The page in headless Chromium, served by `cnnstudy app`, which may ask nothing of the network."""

import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import chromium
import numpy as np
import pytest
from app.untrained import write_weights
from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright
from synthetic_runs import params_with, write_samples

# What a page that was killed has left.
LEFT = "cnnstudy-app-left"
COMMAND = str(Path(sys.executable).with_name("cnnstudy"))

pytestmark = pytest.mark.skipif(
    (chromium.PATH is None or find_spec("gradio") is None) and not os.environ.get("CNNSTUDY_NEEDS_APP"),
    reason="no Gradio or no Chromium here; `make test-app` needs both",
)


@pytest.fixture(scope="module")
def proxy() -> Iterator[socket.socket]:
    """A listener that stands for every host outside this machine; it never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        yield listening


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two nets that were never trained."""
    folder = tmp_path_factory.mktemp("app")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        params = params_with(("alexnet", "xray-aug4"))
        for study in params.studies:
            write_samples(params, study)
        for run in params.runs:
            write_weights(params, run)
    return folder


@pytest.fixture(scope="module")
def address(folder: Path, proxy: socket.socket) -> Iterator[str]:
    """The address of the page."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    outside = f"http://127.0.0.1:{proxy.getsockname()[1]}"
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), outside)
    own = {"no_proxy": "127.0.0.1", "TMPDIR": str(folder)}
    command = [COMMAND, "app", "--port", str(port)]
    (folder / LEFT).mkdir()
    with subprocess.Popen(
        command, cwd=folder, env=os.environ | proxies | own, stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stdout
            line = server.stdout.readline()
            assert line == f"Try a net (Ctrl-C ends it): http://127.0.0.1:{port}\n"
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium.PATH, args=list(chromium.FLAGS))
        yield browser
        browser.close()


@pytest.fixture(params=[chromium.WIDE, chromium.PHONE])
def shown(request: pytest.FixtureRequest, browser: Browser, address: str) -> Iterator[tuple[Page, list[str]]]:
    """The page with its first answer, errors of the console, and requests to other servers."""
    page = browser.new_page(viewport={"width": request.param, "height": 900})
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    own = (address, "data:", "blob:")
    page.on("request", lambda its: None if its.url.startswith(own) else complaints.append(its.url))
    page.goto(address)
    expect(page.locator(".confidence-set")).to_have_count(8, timeout=60_000)
    yield page, complaints
    page.close()


def test_it_answers_at_once_and_asks_nothing_of_the_network(
    shown: tuple[Page, list[str]], proxy: socket.socket
) -> None:
    page, complaints = shown
    expect(page.locator(".examples img")).to_have_count(8)
    expect(page.get_by_text("trained on synthetic images")).to_be_visible()
    assert complaints == []
    with pytest.raises(BlockingIOError):
        proxy.accept()
    width = page.evaluate("document.documentElement.clientWidth")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_an_image_of_ones_own_is_predicted_and_a_broken_one_named(
    shown: tuple[Page, list[str]], tmp_path: Path
) -> None:
    page, complaints = shown
    (tmp_path / "broken.png").write_bytes(b"\x89PNG and nothing")
    page.locator("input[type=file]").set_input_files(tmp_path / "broken.png")
    expect(page.get_by_text("broken.png can't be read: not an image.")).to_be_visible()
    expect(page.locator(".confidence-set")).to_have_count(0)
    page.locator(".examples button").nth(3).click()
    expect(page.locator(".confidence-set")).to_have_count(8)
    expect(page.get_by_text("can't be read")).to_have_count(0)
    expect(page.locator("#gradcam img")).to_be_visible()
    Image.fromarray(np.full((30, 40, 3), 200, np.uint8)).save(tmp_path / "grey.jpg")
    sources = [page.locator(f"#{name} img").get_attribute("src") or "" for name in ("image", "gradcam")]
    page.locator("input[type=file]").set_input_files(tmp_path / "grey.jpg")
    expect(page.get_by_text("grey")).to_be_visible()
    for name, source in zip(("image", "gradcam"), sources, strict=True):
        expect(page.locator(f"#{name} img")).not_to_have_attribute("src", source)
    assert complaints == []


def test_another_net_has_its_classes_and_examples(shown: tuple[Page, list[str]]) -> None:
    page, complaints = shown
    page.get_by_label("Net").click()
    page.get_by_role("option", name="xray-aug4").click()
    expect(page.locator(".confidence-set")).to_have_count(2)
    expect(page.locator(".examples .caption-label", has_text="covid")).to_have_count(4)
    assert complaints == []


def test_a_port_that_is_taken_is_said(folder: Path, address: str) -> None:
    port = address.rpartition(":")[2]
    done = subprocess.run([COMMAND, "app", "--port", port], cwd=folder, capture_output=True, text=True, check=False)
    line = f"error: --port: {port} found; allowed: a port of this machine that is free\n"
    assert (done.returncode, done.stderr) == (2, line)


@pytest.mark.parametrize("headers", [{"Host": "example.org"}, {"Origin": "http://example.org"}])
def test_a_foreign_page_is_refused(address: str, headers: dict[str, str]) -> None:
    for path in ("/", "/gradio_api/upload"):
        request = urllib.request.Request(f"{address}{path}", b"" if path != "/" else None, headers)
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(request, timeout=60)


def test_what_a_killed_page_left_is_gone(folder: Path, address: str) -> None:
    assert not (folder / LEFT).exists()
    assert len(list(folder.glob("cnnstudy-app-*/"))) == 1
