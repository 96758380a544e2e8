"""The tables of a project, and how a database is brought to the newest schema.

One SQLite file in the project folder by default; any SQLAlchemy URL works. Rows of the `JOURNALED`
tables change only together with an `event` (see `annotator.journal`); `run`, `run_photo`,
`evidence`, `finding`, `queue_place` and `setting` are logs and preferences, not state that a person
made.
"""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import (
    JSON,
    URL,
    Boolean,
    Column,
    Connection,
    Engine,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    event,
)

from engine.errors import StoreError

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

image = Table(
    "image",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("file_name", Text, nullable=False, unique=True),  # POSIX, as exports write it
    Column("folder", Text, nullable=False),  # absolute, or relative to the project folder
    Column("path", Text, nullable=False),  # POSIX, inside the folder
    Column("width", Integer, nullable=False),  # of the oriented photo
    Column("height", Integer, nullable=False),
    Column("format", String(16), nullable=False),
    Column("orientation", Integer, nullable=False),  # EXIF, as stored in the file
    Column("sha256", String(64), nullable=False),
    Column("split", String(32), nullable=False, server_default=""),
    Column("notes", JSON, nullable=False),  # what the door had to say: animated, 16-bit …
    sqlite_autoincrement=True,
)

refused = Table(
    "refused",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("file_name", Text, nullable=False, unique=True),
    Column("reason", Text, nullable=False),
    sqlite_autoincrement=True,
)

category = Table(
    "category",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    sqlite_autoincrement=True,
)

image_tag = Table(
    "image_tag",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("image_id", ForeignKey("image.id"), nullable=False),
    Column("category_id", ForeignKey("category.id"), nullable=False),
    Index("ix_image_tag_pair", "image_id", "category_id", unique=True),
    sqlite_autoincrement=True,
)

instance = Table(
    "instance",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("image_id", ForeignKey("image.id"), nullable=False),
    Column("category_id", ForeignKey("category.id")),
    Column("x0", Float, nullable=False),
    Column("y0", Float, nullable=False),
    Column("x1", Float, nullable=False),
    Column("y1", Float, nullable=False),
    Column("counts", Text),  # COCO compressed RLE of the photo's size; NULL for a box alone
    Column("score", Float),
    Column("status", String(16), nullable=False),
    Column("edited", Boolean, nullable=False),
    Column("points", JSON, nullable=False),
    Column("source", JSON, nullable=False),
    Index("ix_instance_image_status", "image_id", "status"),
    sqlite_autoincrement=True,  # an id is never used again, so exports and journals can rely on it
)

journal = Table(
    "event",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at", String(40), nullable=False),  # ISO 8601, UTC
    Column("actor", Text, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("image_id", ForeignKey("image.id")),
    Column("target", ForeignKey("event.id")),  # what an undo or redo moves across
    Column("operation", String(64), unique=True),  # the caller's id, so that a retry is harmless
    Column("changes", JSON, nullable=False),
    Index("ix_event_image", "image_id", "id"),
    sqlite_autoincrement=True,
)

run = Table(
    "run",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("pipeline", Text, nullable=False),
    Column("options", JSON, nullable=False),
    Column("selection", JSON, nullable=False),  # the image ids, in order
    Column("status", String(16), nullable=False),
    Column("created_at", String(40), nullable=False),
    Column("finished_at", String(40)),
    Column("heartbeat_at", Float),  # seconds since the epoch
    Column("process", Integer),
    Column("cancel", Boolean, nullable=False),
    Column("message", Text, nullable=False, server_default=""),
    sqlite_autoincrement=True,
)

run_photo = Table(
    "run_photo",
    metadata,
    Column("run_id", ForeignKey("run.id"), primary_key=True),
    Column("image_id", ForeignKey("image.id"), primary_key=True),
    Column("instances", Integer, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("problem", Text),  # why this photo got nothing
)

evidence = Table(
    "evidence",
    metadata,
    Column("image_id", ForeignKey("image.id"), primary_key=True),  # that of the newest run only
    Column("run_id", ForeignKey("run.id"), nullable=False),
    Column("coarse", LargeBinary),  # the map in 256 levels, row by row; NULL where there was none
    Column("coarse_shape", JSON(none_as_null=True)),  # [h, w]
    Column("prompts", JSON, nullable=False),  # [[x, y], …] in pixels of the photo
    Column("candidates", JSON, nullable=False),  # [{"counts", "score"}, …], best first
)

finding = Table(
    "finding",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("image_id", ForeignKey("image.id"), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("subject", String(64), nullable=False),  # what it is about; see annotator.findings
    Column("state", String(64), nullable=False),  # of the subject, when the finding was made
    Column("instance_id", Integer),  # no key: the object may go and come back by undo
    Column("category_id", ForeignKey("category.id")),
    Column("box", JSON(none_as_null=True)),  # of what has no instance
    Column("badness", Float, nullable=False),
    Column("reason", Text, nullable=False),
    Column("made_by", Text, nullable=False),
    Column("stands", Boolean, nullable=False),  # the subject is still as it was
    Column("confirmed", Boolean, nullable=False),  # a person said that it is right so
    Index("ix_finding_image", "image_id"),
    Index("ix_finding_instance", "instance_id"),
)

confirmation = Table(
    "confirmation",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("image_id", ForeignKey("image.id"), nullable=False),
    Column("subject", String(64), nullable=False),
    Column("state", String(64), nullable=False),
    Index("ix_confirmation_image", "image_id"),
    sqlite_autoincrement=True,
)

queue_place = Table(
    "queue_place",
    metadata,
    Column("order_name", String(16), primary_key=True),
    Column("image_id", ForeignKey("image.id"), primary_key=True),
    Column("place", Integer, nullable=False),
    Column("reason", Text, nullable=False),
)

setting = Table(
    "setting",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("value", JSON, nullable=False),
)

JOURNALED = {
    table.name: table for table in (image, refused, category, image_tag, instance, confirmation)
}  # in the order in which foreign keys allow inserting


def connect(url: str | URL) -> Engine:
    """An engine for the URL; on SQLite with WAL, foreign keys and explicit transactions."""
    if not str(url).startswith("sqlite"):
        return create_engine(url)
    engine = create_engine(url, connect_args={"timeout": 30})

    @event.listens_for(engine, "connect")
    def prepare(connection: object, _record: object) -> None:
        # The driver's own transaction handling starts too late for BEGIN IMMEDIATE.
        connection.isolation_level = None  # type: ignore[attr-defined]
        cursor = connection.cursor()  # type: ignore[attr-defined]
        cursor.execute("PRAGMA journal_mode = WAL")
        # FULL costs a few milliseconds an action and survives a power cut, not only a kill.
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A writer takes the lock at once: upgrading later can fail with "database is locked".
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _alembic_config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    return config


def upgrade(engine: Engine) -> None:
    """Bring the database to the newest schema; StoreError if it is newer than this program."""
    config = _alembic_config()
    scripts = ScriptDirectory.from_config(config)
    with engine.connect() as connection:
        current = MigrationContext.configure(connection).get_current_revision()
    if current == scripts.get_current_head():
        return
    known = {script.revision for script in scripts.walk_revisions()}
    if current is not None and current not in known:
        raise StoreError(
            f"this project was made by a newer version (schema {current}); update tag2mask"
        )
    with engine.execution_options(writes=True).begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
