"""Alembic's entry: runs the migrations on the connection that `schema.upgrade` hands in."""

from alembic import context

from annotator.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
)
# The caller owns the transaction: either every step and its version row are written, or nothing.
context.run_migrations()
