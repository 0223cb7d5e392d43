"""The page of `tune` in a browser: a click or a key answers, and the end is shown."""

from collections.abc import Iterator
from threading import Thread

import pytest
from playwright.sync_api import Page, expect
from support import ROOT

from pipeline.gallery.server.choices import Choices, ChoiceServer
from pipeline.gallery.server.questions import Question

pytestmark = pytest.mark.slow
PICTURE = (ROOT / "docs/pictures/dashboard.png").read_bytes()


@pytest.fixture
def choices() -> Iterator[tuple[Choices, str]]:
    """Choices, and the address of their page."""
    choices = Choices()
    with ChoiceServer(choices) as server:
        loop = Thread(target=server.serve_forever, args=(0.01,))
        loop.start()
        yield choices, server.address
        server.shutdown()
        loop.join()


def test_a_click_and_a_key_answer_and_the_end_is_shown(browser, choices):
    asked, address = choices
    answers: list[str] = []

    def ask() -> None:
        for round_ in (1, 2):
            answers.append(asked.ask(Question(round_, 2, (PICTURE, PICTURE), ("1", "2", "="))))
        asked.finish("transfer: {content_weight: 1}")

    asking = Thread(target=ask)
    context = browser.new_context()
    page: Page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda line: errors.append(line.text) if line.type == "error" else None)
    page.goto(address)
    asking.start()
    expect(page.get_by_role("status")).to_have_text("1 of 2: which is better?")
    second = page.get_by_alt_text("picture 2")
    expect(second).to_be_visible()
    assert second.evaluate("image => image.decode().then(() => image.naturalWidth)") > 1
    second.click()
    expect(page.get_by_role("status")).to_have_text("2 of 2: which is better?")
    page.keyboard.press("=")
    expect(page.get_by_text("transfer: {content_weight: 1}")).to_be_visible()
    asking.join()
    context.close()
    assert answers == ["2", "="]
    assert errors == []
