"""Sending with care: servers that began anew, two pushes at once, damaged photos, old journals."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from annotator import pictures
from annotator.intake import add_photos
from annotator.labelstudio.client import Client
from annotator.labelstudio.journal import Entry, SyncJournal
from annotator.labelstudio.remote import Remote
from annotator.store import Project
from annotator.views import Photo
from engine.errors import FormatError, JobError, PhotoError
from engine.types import Status
from exports.label_studio_check import LabelCheck
from tests.annotator.labelstudio.conftest import QUICK, proposed, replace_instance, store
from tests.annotator.labelstudio.fake_server import LEGACY, FakeLabelStudio, State
from tests.annotator.labelstudio.test_pull import drawn, on, submitted, take
from tests.annotator.labelstudio.test_push import send, writes
from tests.builders import make_instance
from tests.conftest import save_scene

OLD_FIELDS = ("seen", "ours")


def begin_anew(fake: FakeLabelStudio) -> None:
    """The server starts without what it had, and counts from one again."""
    fake.state = State()
    fake._ids = itertools.count(1)


def journal_file(project: Project) -> Path:
    (file,) = (project.folder / "labelstudio").glob("*.jsonl")
    return file


def as_an_earlier_version_wrote_it(file: Path) -> None:
    """Without what the journal has learnt since."""
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    for line in lines:
        line.pop("created", None)
        for name in OLD_FIELDS:
            line.pop(name, None)
        for base in line.get("base", {}).values():
            del base["prediction"]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


# -- which project ---------------------------------------------------------------------------------


def test_a_server_that_began_anew_gets_everything_again(
    filled: Project, remote: Remote, fake: FakeLabelStudio
) -> None:
    first = send(filled, remote)
    begin_anew(fake)
    again = send(filled, remote)
    assert (again.remote_project, again.made, again.sent) == (first.remote_project, True, 4)
    paths = {f"/data/{one['file']}" for one in fake.state.uploads.values()}
    assert {task["data"]["image"] for task in fake.tasks} == paths
    assert len(paths) == 4
    assert send(filled, remote).unchanged == 4


@pytest.mark.parametrize("is_old", [False, True])
def test_a_number_that_belongs_to_somebody_else_now_is_left_alone(
    filled: Project, remote: Remote, fake: FakeLabelStudio, is_old: bool
) -> None:
    first = send(filled, remote)
    if is_old:
        as_an_earlier_version_wrote_it(journal_file(filled))
    begin_anew(fake)
    xml = "<View><Image name='i' value='$image'/></View>"
    theirs = remote.create_project("somebody else's", xml)
    assert theirs.id == first.remote_project
    report = send(filled, remote)
    assert (report.made, report.sent) == (True, 4)
    assert report.remote_project != theirs.id
    assert fake.state.projects[theirs.id]["label_config"] == xml
    assert {task["project"] for task in fake.tasks} == {report.remote_project}


def test_a_journal_of_an_earlier_version_is_gone_on_with(
    filled: Project, remote: Remote, fake: FakeLabelStudio
) -> None:
    send(filled, remote)
    as_an_earlier_version_wrote_it(journal_file(filled))
    before = len(writes(fake))
    assert send(filled, remote).unchanged == 4
    assert len(writes(fake)) == before
    task = fake.task_of("a.png")
    fake.edit(task, task["annotations"][0], [])
    submitted(fake, "b.png")
    report = take(filled, remote)
    assert (report.accepted, report.rejected, report.conflicts) == (1, 1, [])
    assert send(filled, remote).waiting == ()
    assert "created" in journal_file(filled).read_text(encoding="utf-8")


def test_an_earlier_pull_is_remembered_and_what_stood_where_is_found_out(
    filled: Project, remote: Remote, fake: FakeLabelStudio
) -> None:
    send(filled, remote)
    task = fake.task_of("a.png")
    ours = task["annotations"][0]
    fake.submit(task, [drawn()])
    take(filled, remote)
    file = journal_file(filled)
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    last = [line for line in lines if line.get("image_id") == 1][-1]
    (taken,) = {one["digest"] for one in last["seen"].values()} - {last["annotation"]}
    lines.append({**last, "taken": taken})
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    as_an_earlier_version_wrote_it(journal_file(filled))
    # A person presses Update on ours: what stood in the other one was never in it.
    fake.edit(task, ours, [{**one, "origin": "manual"} for one in ours["result"]])
    report = take(filled, remote)
    assert (report.photos, report.conflicts, report.set_aside) == (0, [], [])
    fake.edit(task, task["annotations"][1], [])
    assert take(filled, remote).rejected == 1


def test_an_entry_survives_the_file(tmp_path: Path) -> None:
    names = {"url": "http://x", "project": "key", "remote_project": 1, "title": "birds"}
    value: dict[str, Any] = {
        "image_id": 7,
        "task": 3,
        "annotation": "d",
        "base": {
            "5": {
                "category": "cat",
                "box": [1, 2, 3, 4],
                "mask": "",
                "sent": ["box"],
                "is_proposal": True,
                "key": "",
                "prediction": 9,
            }
        },
        "seen": {"12": {"digest": "d", "holds": {"5": "p"}, "kept_here": {"5": ""}}},
    }
    entry = Entry.from_dict(value)
    for title, created, is_kept in (("a", "1", True), ("b", "1", True), ("b", "2", False)):
        with SyncJournal(tmp_path, **names, remote_title=title, created=created) as journal:
            if title == "a":
                journal.keep([entry])
            assert (journal.get(7) == entry) is is_kept


# -- two at once -----------------------------------------------------------------------------------


def test_two_at_once_are_refused(filled: Project, remote: Remote, fake: FakeLabelStudio) -> None:
    fake.fail("POST", "import", "hold")
    errors: list[Exception] = []

    def first() -> None:
        with Client(fake.url, LEGACY, replace(QUICK, timeout=30.0)) as client:
            try:
                send(filled, Remote(client))
            except Exception as error:  # noqa: BLE001 - the thread must not take it along
                errors.append(error)

    thread = threading.Thread(target=first)
    thread.start()
    while not any("import" in one for one in fake.requests):
        thread.join(0.01)
    for act in (send, take):
        with pytest.raises(JobError, match="another push or pull") as caught:
            act(filled, remote)
        assert "\n" not in str(caught.value)
    fake.released.set()
    thread.join(30)
    assert not thread.is_alive()
    assert len(errors) == 1  # the request that was held up came to nothing
    assert send(filled, remote).sent == 4
    assert len(fake.tasks) == 4


def test_an_update_between_looking_and_writing_is_not_overwritten(
    filled: Project, remote: Remote, fake: FakeLabelStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(filled, remote)
    task = fake.task_of("a.png")
    ours = task["annotations"][0]
    decided, proposal = on(filled, 1)
    replace_instance(filled, 1, replace(decided, category="dog", status=Status.EDITED))
    replace_instance(filled, 1, replace(proposal, category="cat"))
    original = Remote.task

    def updated_at_once(self: Remote, number: int) -> dict[str, Any]:
        found = json.loads(json.dumps(original(self, number)))
        fake.edit(task, ours, [drawn("person")])
        return dict(found)

    monkeypatch.setattr(Remote, "task", updated_at_once)
    report = send(filled, remote)
    assert (report.waiting, report.updated) == (("a.png",), 0)
    assert ours["result"] == [drawn("person")]
    assert task["predictions"][0]["result"][0]["value"]["rectanglelabels"] == ["dog"]


# -- photos ----------------------------------------------------------------------------------------


@pytest.fixture
def with_tiff(tmp_path: Path) -> Iterator[Project]:
    """Three photos; the second has to be encoded again to be seen."""
    for name in ("a.png", "b.tif", "c.png"):
        save_scene(tmp_path / "some photos" / name)
    project = Project.create(tmp_path / "with tiff")
    add_photos(project, tmp_path / "some photos", actor="tester")
    with project.write() as transaction:
        transaction.add_category("cat", actor="tester")
    yield project
    project.close()


def test_a_damaged_photo_is_left_out_with_its_reason(
    with_tiff: Project, remote: Remote, fake: FakeLabelStudio, tmp_path: Path
) -> None:
    (tmp_path / "some photos" / "b.tif").write_bytes(b"II*\0broken")
    for sent in (2, 0):
        report = send(with_tiff, remote)
        assert (report.sent, report.unchanged, len(report.left_out)) == (sent, 2 - sent, 1)
        assert report.left_out[0].startswith("b.tif: cannot read photo")


def test_a_photo_that_fails_on_its_way_does_not_stop_the_others(
    with_tiff: Project, remote: Remote, fake: FakeLabelStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, asked = pictures.picture, []

    def failing(project: Project, photo: Photo) -> tuple[Path, str]:
        asked.append(photo.file_name)
        if photo.file_name == "b.tif" and asked.count("b.tif") == 2:
            raise PhotoError("just now it went bad")
        return original(project, photo)

    monkeypatch.setattr(pictures, "picture", failing)
    report = send(with_tiff, remote)
    assert (report.sent, report.left_out) == (2, ("b.tif: just now it went bad",))
    assert not report.is_complete
    assert send(with_tiff, remote).sent == 1


def test_no_folder_is_opened_that_no_photo_lies_in(
    filled: Project, remote: Remote, fake: FakeLabelStudio, photo_folder: Path
) -> None:
    root = photo_folder.parent.parent
    assert send(filled, remote, photos="local", document_root=root).is_complete
    assert [one["path"] for one in fake.state.storages] == [str(photo_folder)]


def test_a_wrong_address_is_mended_by_the_right_one(
    filled: Project, remote: Remote, fake: FakeLabelStudio, photo_folder: Path
) -> None:
    send(filled, remote, photos="https://wrong.example/p")
    report = send(filled, remote, photos="https://right.example/p")
    assert (report.updated, report.unchanged) == (4, 0)
    assert fake.task_of("a.png")["data"]["image"] == "https://right.example/p/a.png"
    assert send(filled, remote).unchanged == 4  # an upload leaves an address that is there
    assert send(filled, remote, photos="local", document_root=photo_folder.parent).updated == 4
    assert fake.task_of("a.png")["data"]["image"] == "/data/local-files/?d=photos/a.png"


# -- what is checked -------------------------------------------------------------------------------


def test_what_changed_is_checked_before_anything_is_sent(
    filled: Project, remote: Remote, fake: FakeLabelStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(filled, remote)
    store(filled, 1, proposed(category="cat"))
    store(filled, 3, make_instance(category="cat"))
    before = len(writes(fake))

    def refuse(self: LabelCheck, task: Any) -> None:
        if task["data"]["file_name"] == "c.png":
            raise FormatError("photo 'c.png': no good")

    monkeypatch.setattr(LabelCheck, "check", refuse)
    with pytest.raises(FormatError, match=r"c\.png"):
        send(filled, remote)
    assert len(writes(fake)) == before
