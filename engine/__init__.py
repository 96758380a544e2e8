"""Images in, labelled masks out: localizers, segmenters, matching, pipelines, metrics.

Importing this package does no work and never loads torch. It knows no project, no file format of
ours and no user interface.
"""
