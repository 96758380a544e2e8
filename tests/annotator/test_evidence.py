"""What a run saw is kept with its proposals: bounded, replaced by the next run, read back."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from alembic import command
from sqlalchemy import func, select

from annotator import evidence, runs, schema
from annotator.store import DATABASE, Project
from engine.errors import StoreError
from engine.geometry import mask_to_rle
from engine.types import Evidence, Instance, RankedMask
from tests.fakes import proposal, square_mask

SIZE = (90, 120)
IntBox = tuple[int, int, int, int]


def ranked(box: IntBox, score: float = 0.5) -> RankedMask:
    return RankedMask(mask_to_rle(square_mask(SIZE, box)), score)


def masked(box: IntBox) -> Instance:
    return replace(proposal(box), rle=ranked(box).rle)


def begin(project: Project, **options: object) -> int:
    with project.write() as transaction:
        return runs.start(transaction, pipeline="classical", options=options, photos=[1, 2, 3, 4])


def record(project: Project, run_id: int, *found: Instance, seen: Evidence | None) -> None:
    runs.record_photo(project, run_id, 1, instances=found, seconds=0.1, seen=seen)


def read(project: Project, image_id: int = 1) -> Evidence:
    with project.read() as view:
        shown = evidence.overlays(view, image_id)
        kept = evidence.candidates(view, view.photo(image_id))
    return Evidence(shown.coarse, shown.prompts, tuple(kept))


def rows(project: Project) -> int:
    with project.read() as view:
        return int(
            view.connection.execute(select(func.count(schema.evidence.c.image_id))).scalar_one()
        )


def test_map_prompts_and_candidates_come_back(project: Project) -> None:
    coarse = np.array([[0.0, 1.0, 0.25], [0.5, 0.75, 1.0]], np.float32)
    other = ranked((10, 10, 40, 50), 0.7)
    seen = Evidence(coarse, prompts=((3.25, 4.0), (119.5, 89.0)), candidates=(other,))
    record(project, begin(project), masked((10, 10, 50, 50)), seen=seen)
    kept = read(project)
    assert kept.coarse is not None
    assert kept.coarse.shape == (2, 3)
    assert np.abs(kept.coarse - coarse).max() <= 0.51 / 255
    assert kept.prompts == ((3.2, 4.0), (119.5, 89.0))
    assert kept.candidates == (other,)


def test_a_photo_that_no_run_has_seen_has_no_evidence(project: Project) -> None:
    kept = read(project, 2)
    assert (kept.coarse, kept.prompts, kept.candidates) == (None, (), ())


def test_the_next_run_replaces_the_evidence_and_one_that_saw_nothing_removes_it(
    project: Project,
) -> None:
    first = Evidence(np.ones((2, 2), np.float32), candidates=(ranked((1, 1, 9, 9)),))
    record(project, begin(project), proposal((1, 1, 9, 9)), seen=first)
    second = Evidence(candidates=(ranked((1, 1, 30, 30)),))
    record(project, begin(project, seed=2), proposal((1, 1, 9, 9)), seen=second)
    kept = read(project)
    assert (kept.coarse, kept.candidates) == (None, second.candidates)
    assert rows(project) == 1
    record(project, begin(project, seed=3), proposal((1, 1, 9, 9)), seen=None)
    assert rows(project) == 0


def test_a_photo_with_a_problem_keeps_the_evidence_of_its_proposals(project: Project) -> None:
    seen = Evidence(candidates=(ranked((1, 1, 9, 9)),))
    record(project, begin(project), proposal((1, 1, 9, 9)), seen=seen)
    runs.record_photo(
        project, begin(project, seed=2), 1, instances=[], seconds=0.1, problem="out of memory"
    )
    assert read(project).candidates == seen.candidates


def test_evidence_and_proposals_are_one_transaction(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise StoreError("the disk is full")

    run_id = begin(project)
    monkeypatch.setattr(evidence, "replace", refuse)
    with pytest.raises(StoreError, match="full"):
        record(project, run_id, proposal((1, 1, 9, 9)), seen=Evidence())
    assert rows(project) == 0
    with project.read() as view:
        assert view.instances(1) == []


def test_the_journal_does_not_carry_the_evidence(project: Project) -> None:
    seen = Evidence(np.ones((2, 2), np.float32), candidates=(ranked((1, 1, 9, 9)),))
    record(project, begin(project), proposal((1, 1, 9, 9)), seen=seen)
    with project.read() as view:
        tables = {change.table for event in view.events() for change in event.changes}
    assert "evidence" not in tables
    project.check_journal()


def test_of_many_candidates_the_best_are_kept_and_those_near_the_proposals() -> None:
    # Forty good ones on the left, ten poor ones around the object on the right.
    far = [ranked((at, 0, at + 3, 60), 0.9 - at / 100) for at in range(40)]
    near = [ranked((80 + at, 30, 110, 80), 0.01) for at in range(10)]
    kept = evidence.worth_keeping([*near, *far], [masked((80, 20, 110, 80))])
    assert len(kept) == evidence.KEPT
    assert [one.score for one in kept] == sorted((one.score for one in kept), reverse=True)
    assert kept[0] == far[0]
    assert 0 < len(set(kept) & set(near)) <= evidence.KEPT_NEAR


def test_the_last_of_many_proposals_has_its_candidate_too() -> None:
    boxes = [(x, y, x + 10, y + 10) for y in range(0, 80, 20) for x in range(0, 120, 20)][:20]
    near = [ranked((x, y, x + 9, y + 8), 0.1) for x, y, _, _ in boxes]
    near += [ranked((x, y, x + 7, y + 9), 0.05) for x, y, _, _ in boxes]
    far = [ranked((0, 0, 120, 60 + at), 0.9) for at in range(30)]
    kept = evidence.worth_keeping([*near, *far], [masked(box) for box in boxes])
    assert set(near[:20]) <= set(kept)
    assert len(kept) == evidence.KEPT


def test_equal_candidates_are_kept_once_and_none_is_fine() -> None:
    one = ranked((1, 1, 9, 9))
    assert evidence.worth_keeping([one, one], []) == [one]
    assert evidence.worth_keeping([], [masked((1, 1, 9, 9))]) == []


@pytest.mark.parametrize(
    ("shape", "kept"), [((14, 14), (14, 14)), ((640, 320), (64, 32)), ((1, 500), (1, 64))]
)
def test_a_fine_map_is_averaged(
    project: Project, shape: tuple[int, int], kept: tuple[int, int]
) -> None:
    record(project, begin(project), seen=Evidence(np.full(shape, 0.5, np.float32)))
    coarse = read(project).coarse
    assert coarse is not None
    assert coarse.shape == kept
    assert np.allclose(coarse, 0.5, atol=0.003)


def test_no_more_prompts_are_kept_than_a_fine_grid_has(project: Project) -> None:
    record(project, begin(project), seen=Evidence(prompts=((1.0, 2.0),) * 5000))
    assert len(read(project).prompts) == evidence.MOST_PROMPTS


def test_a_project_of_the_first_schema_is_upgraded_and_keeps_everything(tmp_path: Path) -> None:
    folder = tmp_path / "old"
    folder.mkdir()
    make_first_schema(folder / DATABASE)
    project = Project.open(folder)
    with project.read() as view:
        assert [photo.file_name for photo in view.photos()] == ["a.png"]
        assert view.setting("name") == "Old"
    assert rows(project) == 0
    with project.write() as transaction:
        run_id = runs.start(transaction, pipeline="classical", options={}, photos=[1])
    seen = Evidence(candidates=(ranked((1, 1, 9, 9)),))
    record(project, run_id, seen=seen)
    assert read(project).candidates == seen.candidates
    project.close()


def make_first_schema(path: Path) -> None:
    """A database as the first version made it: its own migration, then rows by hand."""
    engine = schema.connect(f"sqlite:///{path}")
    config = schema._alembic_config()
    with engine.execution_options(writes=True).begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    engine.dispose()
    with sqlite3.connect(path) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master").fetchall()
        assert ("run_photo",) in tables
        assert ("evidence",) not in tables
        connection.execute(
            "INSERT INTO image (file_name, folder, path, width, height, format, orientation,"
            " sha256, notes) VALUES ('a.png', '/photos', 'a.png', 120, 90, 'PNG', 1, 'x', '[]')"
        )
        connection.execute("INSERT INTO setting VALUES ('name', '\"Old\"')")
    connection.close()
