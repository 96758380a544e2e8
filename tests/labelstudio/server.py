"""A real Label Studio for the tests: own environment, loopback, SQLite, no call to the outside.

    python -m tests.labelstudio.server FOLDER     installs it there ahead of the tests

``TAG2MASK_LABEL_STUDIO`` names the folder (1 GB) that is kept from run to run: the environment of
the server, and a data folder that has been through its migrations, which take most of a minute.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import venv
from pathlib import Path

VERSION = "1.23.2"
VARIABLE = "TAG2MASK_LABEL_STUDIO"
ACCOUNT, PASSWORD = "ci@example.org", "only-for-this-test"
START_SECONDS = 600  # the first start makes the database: a minute, if nothing else runs


def install(folder: Path) -> Path:
    """The environment of the server, made if need be: minutes and 1 GB; its program."""
    home = folder / f"label-studio-{VERSION}"
    program = home / "bin" / "label-studio"
    ready = home / "ready"
    if not ready.exists():
        shutil.rmtree(home, ignore_errors=True)
        venv.create(home, with_pip=True)
        requirement = f"label-studio=={VERSION}"
        pip = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", requirement]
        try:
            subprocess.run(pip, check=True)
        except subprocess.CalledProcessError as error:
            raise SystemExit(
                f"{requirement} could not be installed into {home}: what pip said stands above. "
                "The checks against a real Label Studio need it, and the way to a package index."
            ) from error
        ready.touch()
    return program


class RealLabelStudio:
    """Use it as a context; `kill` and `start` again as often as needed."""

    def __init__(self, program: Path, folder: Path, *, template: Path | None = None) -> None:
        self.program = program
        self.data = folder / "data"
        self.media = folder / "media"
        self.log = folder / "server.log"
        self.token_file = self.data / "token"
        self.media.mkdir(parents=True, exist_ok=True)
        if template is not None and template.is_dir():
            shutil.copytree(template, self.data)
        self.data.mkdir(exist_ok=True)
        if not self.token_file.exists():
            self.token_file.write_text(secrets.token_hex(20))
        self.token = self.token_file.read_text()
        with socket.socket() as probe:  # a busy port makes the server take another one, silently
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> RealLabelStudio:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Until it answers to our token."""
        command = [str(self.program), "start", "--no-browser", "--internal-host", "127.0.0.1"]
        command += ["--port", str(self.port), "--data-dir", str(self.data)]
        command += ["--username", ACCOUNT, "--password", PASSWORD, "--user-token", self.token]
        command += ["--enable-legacy-api-token", "--log-level", "WARNING"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, env=self._environment(), stdout=log, stderr=log, start_new_session=True
            )
        try:
            self._wait()
        except BaseException:  # a time limit of the test as well: nothing must stay behind
            self.kill()
            raise

    def _wait(self) -> None:
        assert self.process is not None
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise AssertionError(f"the server ended: {self.log.read_text()[-2000:]}")
            if self._answers():
                return
            time.sleep(0.3)
        raise AssertionError(f"no answer within {START_SECONDS} s: {self.log.read_text()[-2000:]}")

    def kill(self) -> None:
        """As a crash does it."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """As a person does it."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.kill()

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "COLLECT_ANALYTICS": "false",
            "LATEST_VERSION_CHECK": "false",
            "SENTRY_DSN": "",
            "FRONTEND_SENTRY_DSN": "",
            # Opening a page makes the server fetch tips from elsewhere; port 9 refuses at once.
            "HTTP_PROXY": "http://127.0.0.1:9",
            "HTTPS_PROXY": "http://127.0.0.1:9",
            "NO_PROXY": "127.0.0.1,localhost",
            "LOCAL_FILES_SERVING_ENABLED": "true",
            "LOCAL_FILES_DOCUMENT_ROOT": str(self.media),
            # So that the server, too, refuses predictions that do not fit the label config.
            "fflag_feat_utc_210_prediction_validation_15082025": "true",
            "ML_BLOCK_LOCAL_IP": "false",
            "SSRF_PROTECTION_ENABLED": "false",
        }

    def _answers(self) -> bool:
        headers = {"Authorization": f"Token {self.token}"}
        request = urllib.request.Request(f"{self.url}/api/current-user/whoami", headers=headers)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=5) as answer:
                return bool(json.load(answer)["email"] == ACCOUNT)
        except (urllib.error.URLError, ConnectionError, TimeoutError, ValueError):
            return False


def template(program: Path, folder: Path) -> Path:
    """A data folder that has been through its migrations, made if need be."""
    kept = folder / f"data-{VERSION}"
    if not kept.is_dir():
        work = folder / "first-start"
        shutil.rmtree(work, ignore_errors=True)
        with RealLabelStudio(program, work):
            pass
        os.replace(work / "data", kept)
        shutil.rmtree(work)
    return kept


if __name__ == "__main__":
    place = Path(sys.argv[1])
    template(install(place), place)
