"""A thin client of Label Studio over HTTP: address and token in, JSON out, one-line errors.

Not the client of label-studio-sdk: that one repeats a POST whose answer was lost, which makes
every task of a batch twice, and its errors quote the login cookie. Here only GET is repeated.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import httpx

from engine.errors import AnnotatorError, OptionError

TESTED = "1.23."
ACCESS_SECONDS = 240.0  # a personal token is good for access tokens of 300 s
SHOWN = 300  # characters of a refusal, which may quote a whole mask
REPEATABLE = (408, 429, 500, 502, 503, 504)
LOOPBACK = ("127.0.0.1", "localhost", "::1")

Upload = tuple[str, bytes, str]
"""Name, content and media type of a file."""


class LabelStudioError(AnnotatorError):
    """Label Studio refused, or is not there; the text says what to do."""


class NoAnswer(LabelStudioError):
    """The request went out and no answer came: it may have been carried out all the same."""


class Busy(NoAnswer):
    """The server failed, and nobody knows whether it carried the request out."""


class Missing(LabelStudioError):
    """There is nothing at this address, or it does not speak JSON."""


@dataclass(frozen=True)
class Waiting:
    """How patient the client is, in seconds."""

    timeout: float = 60.0  # of one answer; an import of 250 tasks takes up to 7 s
    repeats: int = 3  # of a GET
    pause: float = 0.5  # before the first repeat; twice as long before each further one


class Client:
    """One server and one token, which is kept in memory only; close it at the end."""

    def __init__(self, url: str, token: str, waiting: Waiting | None = None) -> None:
        self.url = checked_url(url)
        self._waiting = waiting or Waiting()
        self._token = token.strip()
        if not self._token or not self._token.isascii() or not self._token.isprintable():
            raise OptionError(
                "the token is empty or no token; copy it from Account & Settings of Label Studio"
            )
        self._access: tuple[str, float] | None = None  # of a personal token: access token, since
        is_here = urlsplit(self.url).hostname in LOOPBACK
        # A proxy of the system cannot reach what runs on this machine.
        self._http = httpx.Client(timeout=self._waiting.timeout, trust_env=not is_here)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._http.close()

    # -- requests ----------------------------------------------------------------------------

    def get(self, path: str, **parameters: Any) -> Any:
        """The answer; repeated a few times where none came or the server was busy."""
        pause = self._waiting.pause
        for left in reversed(range(self._waiting.repeats)):
            try:
                return self._answer("GET", path, params=parameters)
            except NoAnswer:
                if not left:
                    raise
            time.sleep(pause)
            pause *= 2
        raise AssertionError("at least one repeat")

    def post(self, path: str, body: Any, **parameters: Any) -> Any:
        """Sent once; bytes are JSON already. NoAnswer where nobody knows what became of it."""
        content = body if isinstance(body, bytes) else _json(body)
        return self._answer("POST", path, content=content, params=parameters)

    def patch(self, path: str, body: Any) -> Any:
        """Sent once, as `post`."""
        return self._answer("PATCH", path, content=_json(body))

    def delete(self, path: str) -> None:
        """Sent once; what is gone already is no error."""
        try:
            self._answer("DELETE", path)
        except Missing:
            return

    def upload(self, path: str, files: Sequence[Upload], **parameters: Any) -> Any:
        """Files as a form; sent once."""
        form = [(f"file{number}", file) for number, file in enumerate(files)]
        return self._answer("POST", path, files=form, params=parameters)

    # -- who is there ------------------------------------------------------------------------

    def check(self) -> tuple[str, str]:
        """Version of the server and address of the account; an error where either is wrong."""
        try:
            answer = self.get("/api/version")
            version = str(answer["release"])
            account = str(self.get("/api/current-user/whoami")["email"])
        except (Missing, KeyError, TypeError) as error:
            raise LabelStudioError(
                f"{self.url} is no Label Studio; give its address, without anything behind the "
                "host unless it lives in a folder there"
            ) from error
        return version, account

    # -- one request -------------------------------------------------------------------------

    def _answer(self, method: str, path: str, **how: Any) -> Any:
        response = self._send(method, path, self._authorization(), **how)
        if response.status_code == 401 and self._access is not None:
            self._access = None
            response = self._send(method, path, self._authorization(), **how)
        return self._content(response)

    def _authorization(self) -> str:
        """The header of a legacy token, or of an access token that a personal one gave."""
        if self._token.count(".") != 2:
            return f"Token {self._token}"
        if self._access is None or time.monotonic() - self._access[1] > ACCESS_SECONDS:
            body = _json({"refresh": self._token})
            response = self._send("POST", "/api/token/refresh/", None, content=body)
            self._access = (str(self._content(response)["access"]), time.monotonic())
        return f"Bearer {self._access[0]}"

    def _send(self, method: str, path: str, token: str | None, **how: Any) -> httpx.Response:
        headers = {"Accept": "application/json"}
        if token is not None:
            headers["Authorization"] = token
        if "content" in how:
            headers["Content-Type"] = "application/json"
        try:
            return self._http.request(method, self.url + path, headers=headers, **how)
        except httpx.ConnectError as error:
            raise LabelStudioError(
                f"no Label Studio answers at {self.url}; start it, or give another address"
            ) from error
        except httpx.TimeoutException as error:
            raise NoAnswer(
                f"Label Studio at {self.url} gave no answer within {self._waiting.timeout:g} s"
            ) from error
        except httpx.TransportError as error:
            raise NoAnswer(f"the connection to {self.url} broke off ({_reason(error)})") from error
        except (httpx.InvalidURL, ValueError) as error:
            raise OptionError(f"{self.url!r} is no address ({error})") from error

    def _content(self, response: httpx.Response) -> Any:
        status = response.status_code
        if status == 204:
            return None
        if 200 <= status < 300:
            try:
                return response.json()
            except ValueError as error:
                raise Missing(f"{self.url} does not answer as Label Studio does") from error
        raise self._refusal(response)

    def _refusal(self, response: httpx.Response) -> LabelStudioError:
        status, detail = response.status_code, _detail(response)
        path = response.request.url.path
        if status == 401:
            return LabelStudioError(
                f"{self.url} refused the token ({detail}); copy a new one from Account & Settings "
                "there"
            )
        if status == 403:
            return LabelStudioError(f"{self.url} forbids this account {path} ({detail})")
        if status == 404:
            return Missing(f"{self.url} has no {path} ({detail})")
        if 300 <= status < 400:
            place = response.headers.get("location", "elsewhere")
            return LabelStudioError(f"{self.url} redirects to {place[:SHOWN]}; give that address")
        if status in REPEATABLE:
            return Busy(f"Label Studio at {self.url} failed with {status} ({detail})")
        return LabelStudioError(f"Label Studio refused {path} with {status}: {detail}")


def checked_url(url: str) -> str:
    """The address without the slash at its end; OptionError where it is none."""
    try:
        parts = urlsplit(url.strip())
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_address = False
    if not is_address:
        raise OptionError(f"{url!r} is no address; give one like http://localhost:8080")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise OptionError(
            "give the address without user, password, ? and #; the token has its own place"
        )
    return url.strip().rstrip("/")


def _json(body: Any) -> bytes:
    return json.dumps(body, ensure_ascii=False, allow_nan=False).encode("utf-8")


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:SHOWN] or type(error).__name__


def _detail(response: httpx.Response) -> str:
    """What the server says is wrong, on one line and short."""
    try:
        body = response.json()
    except ValueError:
        return response.reason_phrase or "no reason given"
    if not isinstance(body, Mapping):
        return str(body)[:SHOWN]
    errors = body.get("validation_errors")
    text = f"{body.get('detail') or 'no reason given'}"
    if errors:
        text += f": {json.dumps(errors, ensure_ascii=False)}"
    return " ".join(text.split())[:SHOWN]
