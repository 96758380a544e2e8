"""What both sides changed in different ways: named, decided, and decided again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from annotator.labelstudio.remote import Remote
from annotator.store import Project
from engine.geometry import mask_to_rle
from engine.types import Status
from exports.label_studio_rle import encode_brush
from tests.annotator.labelstudio.conftest import OTHER, replace_instance
from tests.annotator.labelstudio.fake_server import FakeLabelStudio
from tests.annotator.labelstudio.test_pull import on, submitted, take
from tests.annotator.labelstudio.test_push import send


@pytest.mark.parametrize("way", ["changed there", "taken away there"])
def test_a_conflict_decided_for_here_can_be_decided_again(
    filled: Project, remote: Remote, fake: FakeLabelStudio, way: str
) -> None:
    send(filled, remote)
    (ours,) = on(filled, 2)
    replace_instance(filled, 2, replace(ours, category="cat", status=Status.EDITED, edited=True))
    result = submitted(fake, "b.png")
    if way == "changed there":
        {one["id"]: one for one in result}[f"{ours.id}"]["value"]["rle"] = encode_brush(OTHER)
    else:
        result.clear()
    for _ in range(2):
        report = take(filled, remote)
        assert (len(report.conflicts), report.photos) == (1, 0)
        assert send(filled, remote).waiting == ()
    report = take(filled, remote, prefer="there")
    assert (len(report.conflicts), report.photos) == (1, 1)
    (one,) = on(filled, 2)
    if way == "changed there":
        assert (one.category, one.rle) == ("dog", mask_to_rle(OTHER))
    else:
        assert one.status is Status.REJECTED
    assert take(filled, remote).conflicts == []


def test_a_conflict_that_was_settled_by_hand_is_named_no_longer(
    filled: Project, remote: Remote, fake: FakeLabelStudio
) -> None:
    send(filled, remote)
    (ours,) = on(filled, 2)
    replace_instance(filled, 2, replace(ours, category="cat", status=Status.EDITED, edited=True))
    submitted(fake, "b.png")
    assert len(take(filled, remote).conflicts) == 1
    replace_instance(filled, 2, replace(ours, status=Status.ACCEPTED))
    assert take(filled, remote).conflicts == []
    assert take(filled, remote).read == 0
