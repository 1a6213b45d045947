"""What a user can mend, told in one line."""


class RatewrightError(Exception):
    """A user's mistake or a bad file: the command line prints the message alone and exits with 2."""


class ImageError(RatewrightError):
    """A picture that cannot be decoded, or that does not suit the operation."""


class SourceError(RatewrightError):
    """A data source that cannot be reached, is empty, or does not hold what it should."""


class MissingError(SourceError):
    """A file that its source does not have."""


class BitstreamError(RatewrightError):
    """A bitstream that is truncated, corrupted, hostile, or was written by another model."""


class CheckpointError(RatewrightError):
    """A checkpoint that cannot be read or belongs to another codec."""


class CalibrationError(RatewrightError):
    """A target rate that the codec does not reach."""


def one_line(error: BaseException) -> str:
    """What another library says, without its line breaks."""
    return " ".join(str(error).split()) or type(error).__name__
