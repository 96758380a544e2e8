"""A Label Studio server in step with a project: pushed to, pulled from, and helped as a backend."""
