"""The project on disk: transactions, undo across restarts, conflicts, schema versions."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from annotator import schema
from annotator.journal import Change
from annotator.store import DATABASE, Project
from annotator.views import instance_row
from engine.errors import ConflictError, ReviewError, StoreError
from engine.geometry import mask_to_rle
from engine.types import Instance, Source, Status
from tests.fakes import proposal, square_mask


def put(project: Project, image_id: int, instance: Instance, *, kind: str = "draw box") -> int:
    with project.write() as transaction:
        row = instance_row(instance, image_id=image_id, category_ids=transaction.category_ids())
        event = transaction.record(
            kind, [Change("instance", None, None, row)], actor="tester", image_id=image_id
        )
    new_id = event.changes[0].id
    assert new_id is not None
    return new_id


def test_an_instance_comes_back_as_it_was_stored(project: Project) -> None:
    mask = square_mask((90, 120), (10, 20, 40, 50))
    stored = Instance(
        box=(10.25, 20, 40, 50),
        category="dog",
        status=Status.EDITED,
        source=Source("pro2sam", checkpoint="vit_h", options={"rule": "soft", "tau": 0.2}),
        rle=mask_to_rle(mask),
        score=0.123456789,
        points=((11.5, 21.25, 1), (99.0, 3.0, 0)),
        edited=True,
    )
    new_id = put(project, 1, stored)
    with project.read() as view:
        assert view.instance(1, new_id) == replace(stored, id=new_id)


def test_the_journal_replays_to_the_tables(project: Project) -> None:
    put(project, 1, proposal((1, 2, 3, 4)))
    with project.write() as transaction:
        transaction.move("undo", 1, actor="tester")
    assert project.check_journal() >= 4


def test_a_row_changed_behind_the_journal_is_found(project: Project) -> None:
    new_id = put(project, 1, proposal((1, 2, 3, 4)))
    with sqlite3.connect(project.folder / DATABASE) as connection:
        connection.execute("UPDATE instance SET score = 1.0 WHERE id = ?", (new_id,))
    connection.close()
    with pytest.raises(StoreError, match="'instance' differs from the journal"):
        project.check_journal()


def test_undo_and_redo_survive_a_restart_and_keep_the_id(project: Project) -> None:
    new_id = put(project, 1, proposal((1, 2, 3, 4)))
    with project.write() as transaction:
        transaction.move("undo", 1, actor="tester")
    project.close()
    again = Project.open(project.folder)
    with again.read() as view:
        assert view.instances(1) == []
    with again.write() as transaction:
        transaction.move("redo", 1, actor="tester")
    with again.read() as view:
        assert [instance.id for instance in view.instances(1)] == [new_id]
    again.close()


def test_nothing_to_undo_is_said(project: Project) -> None:
    with pytest.raises(ReviewError, match="nothing to undo"), project.write() as transaction:
        transaction.move("undo", 1, actor="tester")


def test_undo_acts_on_its_own_photo_only(project: Project) -> None:
    put(project, 1, proposal((1, 2, 3, 4)))
    other = put(project, 2, proposal((5, 6, 7, 8)))
    with project.write() as transaction:
        transaction.move("undo", 1, actor="tester")
    with project.read() as view:
        assert view.instances(1) == []
        assert [instance.id for instance in view.instances(2)] == [other]


def test_an_id_is_never_used_again(project: Project) -> None:
    first = put(project, 1, proposal((1, 2, 3, 4)))
    with project.write() as transaction:
        transaction.move("undo", 1, actor="tester")
    assert put(project, 1, proposal((1, 2, 3, 4))) > first


def test_undo_refuses_what_a_run_has_replaced(project: Project) -> None:
    new_id = put(project, 1, proposal((1, 2, 3, 4)))
    with project.write() as transaction:
        row = transaction.row("instance", new_id)
        gone = Change("instance", new_id, row, None)
        transaction.record("suggest", [gone], actor="machine", image_id=1)
    with pytest.raises(ReviewError, match="replaced since"), project.write() as transaction:
        transaction.move("undo", 1, actor="tester")


def test_a_photo_that_moved_on_is_a_conflict_and_nothing_is_written(project: Project) -> None:
    with project.read() as view:
        seen = view.revision(1)
    put(project, 1, proposal((1, 2, 3, 4)))
    row = {"name": "owl"}
    with pytest.raises(ConflictError), project.write() as transaction:
        transaction.record(
            "draw box",
            [Change("category", None, None, row)],
            actor="second tab",
            image_id=1,
            base_revision=seen,
        )
    with project.read() as view:
        assert "owl" not in view.category_ids()


def test_a_transaction_that_fails_half_way_leaves_nothing(project: Project) -> None:
    class PowerCut(Exception):
        pass

    def fail_half_way() -> None:
        with project.write() as transaction:
            transaction.add_category("owl", actor="tester")
            raise PowerCut

    with pytest.raises(PowerCut):
        fail_half_way()
    with project.read() as view:
        assert "owl" not in view.category_ids()
    project.check_journal()


def test_the_revision_of_a_photo_grows_with_its_events_alone(project: Project) -> None:
    with project.read() as view:
        before = view.revision(1), view.revision(2)
    put(project, 1, proposal((1, 2, 3, 4)))
    with project.read() as view:
        assert view.revision(1) > before[0]
        assert view.revision(2) == before[1]


def test_an_unknown_class_is_refused_with_its_name(project: Project) -> None:
    with pytest.raises(StoreError, match="'okapi'"):
        put(project, 1, proposal((1, 2, 3, 4), category="okapi"))


def test_a_second_project_in_the_same_folder_is_refused(project: Project) -> None:
    with pytest.raises(StoreError, match="already holds a project"):
        Project.create(project.folder)


def test_a_folder_without_a_project_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="annotator new"):
        Project.open(tmp_path)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / DATABASE).write_bytes(b"this is not a database at all, only text" * 50)
    with pytest.raises(StoreError, match="not a project database"):
        Project.open(tmp_path)


def test_a_project_of_a_newer_program_is_refused(project: Project) -> None:
    project.close()
    with sqlite3.connect(project.folder / DATABASE) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(StoreError, match=r"newer version \(schema 9999\)"):
        Project.open(project.folder)


def test_the_migrations_make_the_tables_that_the_code_expects(tmp_path: Path) -> None:
    engine = schema.connect(f"sqlite:///{tmp_path / 'x.sqlite'}")
    schema.upgrade(engine)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, schema.metadata) == []
    engine.dispose()


def test_the_store_loads_no_torch_and_no_gradio() -> None:
    code = "import sys, annotator.store; print({'torch', 'gradio'} & set(sys.modules))"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "set()"


def test_a_busy_database_is_an_error_and_not_a_crash(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    impatient = schema.connect(f"sqlite:///{project.folder / DATABASE}")
    monkeypatch.setattr(project, "_writer", impatient.execution_options(writes=True))
    with impatient.connect() as connection:
        connection.exec_driver_sql("PRAGMA busy_timeout = 0")
    blocker = sqlite3.connect(project.folder / DATABASE, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(StoreError, match="busy"), project.write():
            pass
    finally:
        blocker.execute("ROLLBACK")
        blocker.close()
        impatient.dispose()


def test_a_table_that_is_gone_is_an_error_and_not_a_crash(project: Project) -> None:
    with sqlite3.connect(project.folder / DATABASE) as connection:
        connection.execute("DROP TABLE run_photo")
        connection.execute("DROP TABLE run")
    connection.close()
    with pytest.raises(StoreError, match="cannot be read: no such table: run"), project.read() as v:
        v.connection.exec_driver_sql("SELECT * FROM run")


def test_a_discarded_project_takes_nobodys_backup_along(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    backup = tmp_path / "p" / (DATABASE + ".bak")
    backup.write_text("precious")
    Project.create(tmp_path / "p").discard()
    assert backup.read_text() == "precious"
    assert not (tmp_path / "p" / DATABASE).exists()


def test_a_database_that_was_replaced_while_open_is_not_written(project: Project) -> None:
    (project.folder / DATABASE).rename(project.folder / "old.sqlite")
    with pytest.raises(StoreError, match="removed or replaced"), project.write():
        pass
    other = Project.create(project.folder)
    with pytest.raises(StoreError, match="removed or replaced"), project.read():
        pass
    other.close()


@pytest.mark.parametrize("name", ["what?", "100%", "a#b", "tür 写真"])
def test_a_project_can_live_in_a_folder_of_any_name(tmp_path: Path, name: str) -> None:
    Project.create(tmp_path / name).close()
    assert [path.name for path in tmp_path.iterdir()] == [name]
    Project.open(tmp_path / name).close()


def test_a_name_too_long_for_the_disk_is_no_project(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no project in"):
        Project.open(tmp_path / ("x" * 300))


def test_a_class_is_the_same_however_its_accents_are_composed(project: Project) -> None:
    with project.write() as transaction:
        first = transaction.add_category("caf\u00e9", actor="tester")
        assert transaction.add_category("cafe\u0301", actor="tester") == first


def test_a_mask_of_another_size_than_its_photo_is_not_stored(project: Project) -> None:
    mask = mask_to_rle(square_mask((150, 200), (10, 20, 40, 50)))
    made = replace(proposal((10, 20, 40, 50)), rle=mask)
    with project.read() as view:
        photo, ids = view.photo(1), view.category_ids()
    size = (photo.height, photo.width)
    with pytest.raises(StoreError, match=r"mask of \(h, w\) \(150, 200\) .*photo of \(90, 120\)"):
        instance_row(made, image_id=1, category_ids=ids, size_hw=size)


def change(project: Project, kind: str, *instances: Instance) -> None:
    with project.write() as transaction:
        ids = transaction.category_ids()
        rows = [
            Change(
                "instance",
                one.id,
                transaction.row("instance", one.id),
                instance_row(one, image_id=1, category_ids=ids),
            )
            for one in instances
        ]
        transaction.record(kind, rows, actor="tester", image_id=1)


def move(project: Project, kind: str) -> int | None:
    with project.write() as transaction:
        return transaction.move(kind, 1, actor="tester").target


def test_undo_passes_over_what_a_run_has_replaced(project: Project) -> None:
    first = put(project, 1, proposal((1, 2, 3, 4)))
    second = put(project, 1, proposal((5, 6, 7, 8)), kind="suggest")
    with project.read() as view:
        one, other = view.instances(1)
    accepted = [replace(each, status=Status.ACCEPTED) for each in (one, other)]
    change(project, "accept all", *accepted)
    change(project, "reject", replace(other, status=Status.REJECTED))
    change(project, "reopen", other)
    with project.write() as transaction:
        gone = Change("instance", second, transaction.row("instance", second), None)
        transaction.record("suggest", [gone], actor="machine", image_id=1)
    with project.read() as view:
        step = view.next_step("undo", 1)
    assert step is not None
    event, changes, passed = step
    # Neither "reopen" nor "reject" can be taken back; of "accept all" the half that is there.
    assert (event.kind, [each.id for each in changes], passed) == ("accept all", [first], 2)
    assert move(project, "undo") == event.id
    with project.read() as view:
        assert view.instances(1) == [one]
        again = view.next_step("redo", 1)
    assert again is not None
    assert again[0].id == event.id
    move(project, "redo")
    with project.read() as view:
        assert view.instances(1) == [accepted[0]]
    move(project, "undo")
    move(project, "undo")  # the object itself
    with pytest.raises(ReviewError, match="nothing to undo"):
        move(project, "undo")
    project.check_journal()
