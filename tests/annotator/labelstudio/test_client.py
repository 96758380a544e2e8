"""Errors are one line that says what to do; only a GET is ever repeated; tokens stay secret."""

from __future__ import annotations

from dataclasses import replace

import pytest

from annotator.labelstudio.client import Client, LabelStudioError, NoAnswer, Waiting, checked_url
from engine.errors import OptionError
from tests.annotator.labelstudio.conftest import QUICK
from tests.annotator.labelstudio.fake_server import LEGACY, PERSONAL, FakeLabelStudio


def client_of(fake: FakeLabelStudio, token: str = LEGACY, waiting: Waiting = QUICK) -> Client:
    return Client(fake.url, token, waiting)


def test_a_legacy_token_opens_the_door(fake: FakeLabelStudio) -> None:
    with client_of(fake) as client:
        assert client.check() == ("1.23.2", "ci@example.org")


def test_a_personal_token_is_changed_for_an_access_token(fake: FakeLabelStudio) -> None:
    with client_of(fake, PERSONAL) as client:
        assert client.check() == ("1.23.2", "ci@example.org")
        fake.access_tokens.clear()  # it expired
        assert client.check() == ("1.23.2", "ci@example.org")
    assert fake.requests.count("POST /api/token/refresh/") == 2


@pytest.mark.parametrize("token", ["wrong", "a.b.c"])
def test_a_wrong_token_is_told_and_not_shown(fake: FakeLabelStudio, token: str) -> None:
    with client_of(fake, token) as client, pytest.raises(LabelStudioError) as caught:
        client.check()
    text = str(caught.value)
    assert "refused the token" in text
    assert "Account & Settings" in text
    assert "\n" not in text
    assert token not in text.replace(fake.url, "")


@pytest.mark.parametrize("token", ["", "  ", "a\nb", "clé"])
def test_what_is_no_token_is_refused_at_once(token: str) -> None:
    with pytest.raises(OptionError, match="token"):
        Client("http://localhost", token)


def test_a_server_that_is_down_is_told(fake: FakeLabelStudio) -> None:
    client = Client("http://127.0.0.1:1", LEGACY, QUICK)
    with client, pytest.raises(LabelStudioError, match="no Label Studio answers at"):
        client.check()


def test_another_kind_of_server_is_told(fake: FakeLabelStudio) -> None:
    client = Client(fake.url + "/folder", LEGACY, QUICK)
    with client, pytest.raises(LabelStudioError, match="is no Label Studio"):
        client.check()


@pytest.mark.parametrize("how", [500, 503, 429, "drop"])
def test_a_get_is_repeated(fake: FakeLabelStudio, how: int | str) -> None:
    fake.fail("GET", "version", how, times=2)
    with client_of(fake) as client:
        assert client.get("/api/version") == {"release": "1.23.2"}
    assert fake.requests == ["GET /api/version"] * 3


def test_a_get_is_not_repeated_for_ever(fake: FakeLabelStudio) -> None:
    fake.fail("GET", "version", 500, times=9)
    with client_of(fake) as client, pytest.raises(NoAnswer, match="failed with 500"):
        client.get("/api/version")
    assert len(fake.requests) == 3


@pytest.mark.parametrize(
    ("how", "text"), [(502, "failed with 502"), ("drop", "broke off"), ("stall", "within 1 s")]
)
def test_a_post_is_never_repeated(fake: FakeLabelStudio, how: int | str, text: str) -> None:
    fake.fail("POST", "projects", how)
    body = {"title": "abc", "label_config": "<View/>"}
    waiting = replace(QUICK, timeout=1.0) if how == "stall" else QUICK
    with client_of(fake, waiting=waiting) as client, pytest.raises(NoAnswer, match=text):
        client.post("/api/projects/", body)
    assert fake.requests == ["POST /api/projects/"]


def test_a_refusal_quotes_the_reason_and_no_more_than_a_line(fake: FakeLabelStudio) -> None:
    with client_of(fake) as client, pytest.raises(LabelStudioError) as caught:
        client.post("/api/projects/", {"title": "x" * 99, "label_config": ""})
    assert "refused /api/projects/ with 400: Validation error" in str(caught.value)
    assert len(str(caught.value)) < 500


def test_what_is_gone_already_may_be_deleted(fake: FakeLabelStudio) -> None:
    with client_of(fake) as client:
        client.delete("/api/nothing/")


@pytest.mark.parametrize(
    "url", ["", "localhost:8080", "ftp://x", "http://", "http://x:y", "http://u:p@x", "http://x/?a"]
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(OptionError):
        checked_url(url)


def test_a_slash_at_the_end_makes_no_difference() -> None:
    assert checked_url(" http://x:8080/ls/ ") == "http://x:8080/ls"
