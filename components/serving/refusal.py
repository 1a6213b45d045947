"""A request that is not done."""


class Refusal(Exception):
    """A request that is not done, and why.

    Attributes:
        status: The answer's status.
        text: The reason, in one line.
        retry_after: Seconds after which the client may ask again; None where that would not help.
    """

    def __init__(self, status: int, text: str, retry_after: int | None = None):
        super().__init__(text)
        self.status, self.text, self.retry_after = status, " ".join(text.split()), retry_after
