"""The exception tree.

Every error a user can cause is a `FeatureFieldsError`. Its message is one line that says what was asked,
what was found and what to do; the command line prints it and exits with code 1.
"""

import re

_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""What ends a line, moves a terminal's cursor, or cannot be written: names in foreign files may hold it."""


class FeatureFieldsError(Exception):
    """Root of all errors raised on purpose."""

    def __str__(self) -> str:
        """The message on one line, whatever was quoted from a file."""
        return _UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], super().__str__())


def shortened(text: str, longest: int = 60) -> str:
    """What a foreign file holds, for a message: cut where it is longer."""
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


class SceneError(FeatureFieldsError):
    """A folder of posed photos cannot be read: missing or broken files, unusable poses."""


class FileFormatError(FeatureFieldsError):
    """A file of ours or a PLY is damaged, incomplete, or of a newer schema."""


class WriteError(FeatureFieldsError):
    """A result could not be written: it exists already, or the disk refused. Nothing on disk was lost."""


class UnknownNameError(FeatureFieldsError):
    """A backend, extractor, head or view was asked for by a name that does not exist."""


class UnavailableError(FeatureFieldsError):
    """A known part cannot be used here: an optional package, a device or model weights are missing."""


class PromptError(FeatureFieldsError):
    """A prompt does not make sense: a click outside the photo or on nothing, a selection of another scene."""


class FittingError(FeatureFieldsError):
    """Fitting cannot start, resume or go on: unusable settings, a foreign checkpoint, no usable views."""
