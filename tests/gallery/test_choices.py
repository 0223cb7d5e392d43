"""The page that asks which of two pictures is better: answers, access, and the end."""

import http.client
import json
import re
from collections.abc import Iterator
from threading import Thread

import pytest
from support.gallery_visitor import Answer, until

from pipeline.gallery.server.choices import Choices, ChoiceServer
from pipeline.gallery.server.questions import Question

QUESTION = Question(3, 5, (b"first", b"second"), ("1", "2", "=", "q"))


class Browser:
    """A server, and a browser that opened its address."""

    def __init__(self) -> None:
        self.choices = Choices()
        self.server = ChoiceServer(self.choices)
        self.loop = Thread(target=self.server.serve_forever, args=(0.01,))
        self.loop.start()
        address = self.server.address.partition("/?")[2]
        self.cookie = self.ask(f"/?{address}", cookie="").headers["Set-Cookie"].partition(";")[0]

    def ask(self, path: str, method: str = "GET", cookie: str | None = None, **more) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=20)
        headers = {name.replace("_", "-"): value for name, value in more.items()}
        body = headers.pop("body", None)
        sent = {"Cookie": self.cookie if cookie is None else cookie, **headers}
        connection.request(method, path, body, sent)
        got = connection.getresponse()
        answer = Answer(status=got.status, headers=got.headers, body=got.read())
        connection.close()
        return answer

    def state(self) -> dict:
        return json.loads(self.ask("/state").body)

    def put(self, path: str, **more) -> int:
        return self.ask(path, "PUT", **more).status


@pytest.fixture
def browser() -> Iterator[Browser]:
    browser = Browser()
    yield browser
    browser.server.shutdown()
    browser.loop.join()
    browser.server.server_close()


@pytest.fixture
def answers(browser) -> Iterator[list[str]]:
    """Asks the question; the answer is in the list when the test has given one."""
    given: list[str] = []
    asking = Thread(target=lambda: given.append(browser.choices.ask(QUESTION)))
    assert browser.state() == {"round": 0}  # the pictures are still being painted
    asking.start()
    until(lambda: browser.state()["round"] == QUESTION.round)
    yield given
    browser.choices.take(3, "q")
    asking.join()


def test_an_answer_reaches_who_asked_and_counts_once(browser, answers):
    assert browser.state() == {"round": 3, "rounds": 5}
    assert [browser.ask(f"/picture/3/{n}").body for n in (1, 2)] == [b"first", b"second"]
    assert browser.put("/answer/3/%3D") == 200
    assert browser.put("/answer/3/1") == 409
    assert browser.state() == {"round": 0}


@pytest.mark.parametrize(
    "path", ["/answer/2/1", "/answer/3/x", "/answer/3/", "/answer/3/11", "/inbox/a.jpg", "/"]
)
def test_what_answers_nothing_is_refused(browser, answers, path):
    assert browser.put(path) == 409
    assert browser.put("/answer/3/1", body="text") == 400
    assert browser.state()["round"] == 3


@pytest.mark.parametrize("path", ["/", "/state", "/picture/3/1", "/answer/3/1"])
def test_nobody_without_the_token_sees_or_answers_anything(browser, answers, path):
    method = "PUT" if "answer" in path else "GET"
    assert browser.ask(path, method, cookie="").status == 401
    assert browser.ask(path, method, Host="evil.example").status == 403
    assert browser.put("/answer/3/1", Origin="http://evil.example") == 403
    assert browser.state()["round"] == 3


@pytest.mark.parametrize(
    "path", ["/picture/3/3", "/picture/2/1", "/gallery/head.js", "/etc/passwd"]
)
def test_nothing_but_the_open_pictures_is_served(browser, answers, path):
    assert browser.ask(path).status == 404


def test_the_page_may_load_only_its_own_parts(browser):
    page = browser.ask("/")
    assert page.status == 200
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert len(re.findall("'sha256-", policy)) == 2
    assert b"http:" not in page.body


def test_the_end_is_shown_and_waited_for(browser):
    ending = Thread(target=browser.choices.finish, args=("transfer: {}",))
    ending.start()
    until(lambda: browser.state() == {"end": "transfer: {}"})
    ending.join()
