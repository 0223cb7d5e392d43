"""Who may ask the gallery server: names, other sites, tokens."""

import pytest
from support.gallery_visitor import TOKEN, Visitor

from pipeline.gallery.server.access import Guard, is_loopback


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8765", "localhost.evil.example",
                                  "127.0.0.1.evil.example", "", "[::1", "a b"])  # fmt: skip
def test_a_name_that_is_not_ours_is_refused(visitor: Visitor, host: str) -> None:
    assert visitor.ask("/", Host=host).status == 403
    assert visitor.put("a.jpg", Host=host).status == 403
    assert visitor.arrived() == {}


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:80", "[::1]:8765",
                                  "192.168.1.5", "studio.example"])  # fmt: skip
def test_numbers_and_our_own_names_are_known(host: str) -> None:
    assert Guard(names=frozenset({"studio.example"})).knows_host(host)


def test_another_sites_page_can_read_nothing_but_may_link_here(visitor: Visitor) -> None:
    assert visitor.ask("/live", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="cors").status == 403
    assert visitor.ask("/", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate").status == 200


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": "http://127.0.0.1:1"},
     {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"},
     {"Sec_Fetch_Site": "same-site"}],
)  # fmt: skip
def test_another_sites_page_can_put_nothing_into_the_inbox(
    visitor: Visitor, headers: dict[str, str]
) -> None:
    assert visitor.put("a.jpg", **headers).status == 403
    assert visitor.arrived() == {}


def test_an_address_that_is_none_is_a_bad_request(visitor: Visitor) -> None:
    with visitor.raw(b"GET http://[::1 HTTP/1.1\r\nHost: localhost\r\n\r\n") as connection:
        assert connection.recv(100).startswith(b"HTTP/1.1 400")
    assert visitor.put("a.jpg", Origin="http://[::1").status == 403
    assert visitor.arrived() == {}
    assert visitor.notes == []


@pytest.mark.parametrize("method", ["POST", "DELETE", "OPTIONS", "TRACE"])
def test_a_form_or_a_preflight_finds_nobody(visitor: Visitor, method: str) -> None:
    answer = visitor.ask("/inbox/a.jpg", method, b"x")
    assert answer.status == 501
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert answer.headers["Content-Type"].startswith("text/plain")


@pytest.mark.parametrize("path", ["/", "/live", "/a--mosaic.png", "/?token=wrong", "/?token="])
def test_without_the_token_nothing_is_shown(guarded: Visitor, path: str) -> None:
    assert guarded.ask(path).status == 401
    assert guarded.ask(path, Cookie=f"pipeline-1={TOKEN}").status == 401
    assert guarded.ask(path, Cookie="pipeline-1=é; =;;").status == 401
    assert guarded.put("a.jpg", Authorization="Bearer wrong").status == 401
    assert guarded.arrived() == {}


def test_the_address_with_the_token_becomes_a_cookie_that_does_not_hold_it(
    guarded: Visitor,
) -> None:
    answer = guarded.ask(f"/?token={TOKEN.replace(' ', '+')}")
    assert (answer.status, answer.headers["Location"]) == (303, "/")
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert TOKEN not in cookie
    assert guarded.ask("/", Cookie=cookie.partition(";")[0]).status == 200
    assert guarded.put("a.jpg", Authorization=f"Bearer {TOKEN}").status == 201


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_this_machines_own_addresses_need_no_token(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "10.0.0.1", "example.org"])
def test_every_other_address_needs_one(host: str) -> None:
    assert not is_loopback(host)
