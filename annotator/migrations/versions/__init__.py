"""One file a step; applied by `annotator.schema.upgrade` when a project is opened."""
