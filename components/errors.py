"""Errors that a user can mend; each has a message of one line."""


class RatewrightError(Exception):
    """A user's mistake or a bad file; the command line prints the message alone and exits with status 2."""


class ImageError(RatewrightError):
    """A picture that cannot be decoded, or that an operation cannot take."""


class SourceError(RatewrightError):
    """A data source that cannot be reached, is empty, or has wrong content."""


class MissingError(SourceError):
    """A file that does not exist at its source."""


class BitstreamError(RatewrightError):
    """A bitstream that is truncated, corrupted, hostile, or was written by another model."""


class CheckpointError(RatewrightError):
    """A checkpoint that cannot be read or belongs to another codec."""


class CalibrationError(RatewrightError):
    """A target rate that a codec cannot reach."""


def one_line(error: BaseException) -> str:
    """The message of an error of another library without line breaks; the error's type where it has none."""
    return " ".join(str(error).split()) or type(error).__name__
