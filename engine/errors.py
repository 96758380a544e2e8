"""Every error that a user can cause, in one tree.

    AnnotatorError
    ├── PhotoError       a picture that cannot be opened, or should not be
    ├── TagsError        a tags file or folder that cannot be read
    ├── OptionError      an option out of its range, or an unknown name
    ├── WeightsError     a checkpoint that is missing, broken or of another network
    ├── FormatError      an annotation file that breaks its format
    ├── StoreError       a project that cannot be opened, or an unknown photo, class or instance
    │   └── ConflictError    somebody else changed the photo meanwhile
    ├── ReviewError      an action that makes no sense on this instance
    ├── JobError         a run that cannot start, resume or stop
    └── (annotator.labelstudio) LabelStudioError    a Label Studio that refuses or does not answer

A message is one sentence: what was wrong, the value, what is allowed or what to do. The command
line prints it on one line, the app shows it as a notice. Programming errors are not in this tree.
"""


class AnnotatorError(Exception):
    """A mistake that the user can mend; its text says how."""


class PhotoError(AnnotatorError):
    """A picture that cannot be opened, or should not be."""


class TagsError(AnnotatorError):
    """A tags file or a folder of classes that cannot be read."""


class OptionError(AnnotatorError):
    """An option out of its range, or an unknown name."""


class WeightsError(AnnotatorError):
    """A checkpoint that is missing, broken or made for another network."""


class FormatError(AnnotatorError):
    """An annotation file that breaks its own format."""


class StoreError(AnnotatorError):
    """A project that cannot be opened, or an unknown photo, class or instance."""


class ConflictError(StoreError):
    """The photo changed since the caller last read it; nothing was written."""


class ReviewError(AnnotatorError):
    """An action that makes no sense on this instance."""


class JobError(AnnotatorError):
    """A run that cannot start, resume or stop."""
