"""Alembic migrations of a project's database, oldest first, in `versions`."""
