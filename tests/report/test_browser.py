"""The page in headless Chromium, on a desk, on a phone and in print."""

import os
from collections.abc import Iterator
from pathlib import Path

import chromium
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

OPEN = "document.querySelectorAll('details').forEach(each => each.open = true)"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        chromium.PATH is None and not os.environ.get("CNNSTUDY_NEEDS_CHROMIUM"), reason="no Chromium here"
    ),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium.PATH, args=list(chromium.FLAGS))
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def file(html: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("page") / "index.html"
    file.write_text(html, encoding="utf-8")
    return file


@pytest.fixture(params=[chromium.WIDE, chromium.PHONE])
def shown(request: pytest.FixtureRequest, browser: Browser, file: Path) -> Iterator[tuple[Page, list[str]]]:
    """The page, the messages of the console, and the requests to the network."""
    page = browser.new_page(viewport={"width": request.param, "height": 900})
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda its: None if its.url.startswith(("file:", "data:")) else complaints.append(its.url))
    page.goto(file.as_uri())
    yield page, complaints
    page.close()


def test_every_picture_loads_and_nothing_complains(shown: tuple[Page, list[str]]) -> None:
    page, complaints = shown
    assert page.evaluate("document.images.length") > 30
    broken = page.evaluate("[...document.images].filter(i => !i.complete || !i.naturalWidth).map(i => i.alt)")
    assert broken == complaints == []


def test_nothing_is_wider_than_the_screen(shown: tuple[Page, list[str]]) -> None:
    page, _ = shown
    page.evaluate(OPEN)
    width = page.evaluate("document.documentElement.clientWidth")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_no_table_or_figure_is_cut(shown: tuple[Page, list[str]]) -> None:
    page, _ = shown
    page.evaluate(OPEN)
    cut = page.evaluate(
        """() => {
            const edge = document.querySelector("main").getBoundingClientRect().right + 1;
            return [...document.querySelectorAll("table, img, .dots, .legend li, .row span")].filter(
                each => each.getBoundingClientRect().right > edge).map(each => each.outerHTML.slice(0, 200));
        }"""
    )
    assert cut == []


def test_the_page_is_not_high_while_details_are_closed(shown: tuple[Page, list[str]]) -> None:
    page, _ = shown
    if page.evaluate("innerWidth") == chromium.WIDE:
        assert page.evaluate("document.documentElement.scrollHeight") < 20_000


def test_the_first_screen_holds_the_numbers(shown: tuple[Page, list[str]]) -> None:
    page, _ = shown
    assert page.evaluate("document.querySelector('.numbers div').getBoundingClientRect().bottom") < 900


def test_the_contents_mark_where_one_is(shown: tuple[Page, list[str]]) -> None:
    page, _ = shown
    for part in ("claims", "summary", "runs"):
        page.evaluate("id => document.getElementById(id).scrollIntoView()", part)
        page.wait_for_function("id => document.querySelector('nav [aria-current]').hash === '#' + id", arg=part)
    assert page.evaluate("document.querySelectorAll('nav [aria-current]').length") == 1
    box = page.evaluate(
        "(({x, right}) => [x, right])(document.querySelector('nav [aria-current]').getBoundingClientRect())"
    )
    assert 0 <= box[0] < box[1] <= page.evaluate("innerWidth")


def test_claims_are_cards_on_a_phone(shown: tuple[Page, list[str]]) -> None:
    page, _ = shown
    page.evaluate(OPEN)
    display = page.evaluate("getComputedStyle(document.querySelector('table.cards td')).display")
    assert display == ("block" if page.evaluate("innerWidth") == chromium.PHONE else "table-cell")


def test_every_link_of_the_index_leads_to_something_visible(shown: tuple[Page, list[str]]) -> None:
    page, _ = shown
    targets = page.evaluate("[...document.querySelectorAll('#contents a')].map(a => a.hash.slice(1))")
    assert len(targets) > 10
    for target in dict.fromkeys(targets):
        page.evaluate("document.querySelectorAll('main details').forEach(each => each.open = false)")
        page.evaluate("id => { location.hash = id; }", target)
        page.wait_for_function("id => document.getElementById(id).checkVisibility()", arg=target)
        assert page.evaluate("id => document.getElementById(id).getBoundingClientRect().height", target) > 10


def test_the_printed_page_shows_what_is_folded(browser: Browser, file: Path) -> None:
    page = browser.new_page()
    page.goto(file.as_uri())
    folded = "(id => document.querySelector(`#${id} details > :not(summary)`).checkVisibility())"
    assert not page.evaluate(f"{folded}('claims')")
    page.emulate_media(media="print")
    assert page.evaluate(f"{folded}('claims')")
    assert not page.evaluate(f"{folded}('runs')")  # each is as long as all else
    page.evaluate("document.querySelector('#runs details').open = true")
    assert page.evaluate(f"{folded}('runs')")
    assert page.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"
    page.close()
