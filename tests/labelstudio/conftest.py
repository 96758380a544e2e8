"""One real server for all tests of this folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from annotator.labelstudio.client import Client, Waiting
from annotator.labelstudio.remote import Remote
from tests.labelstudio.server import VARIABLE, RealLabelStudio, install, template


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealLabelStudio]:
    """Running; installed and prepared in the folder that the variable names."""
    kept = os.environ.get(VARIABLE)
    if not kept:
        pytest.skip(f"{VARIABLE} does not name the folder of the server (see server.py)")
    folder = Path(kept)
    program = install(folder)
    prepared = template(program, folder)
    place = tmp_path_factory.mktemp("label-studio")
    with RealLabelStudio(program, place, template=prepared) as running:
        yield running


@pytest.fixture
def remote(server: RealLabelStudio) -> Iterator[Remote]:
    with Client(server.url, server.token, Waiting()) as client:
        yield Remote(client)
