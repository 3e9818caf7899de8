"""The one exception root, and the errors of reading events. Other packages branch off from here."""


class TillstreamError(Exception):
    """Root of every error that Tillstream raises on purpose; its text is fit for a user to read."""


class ConfigurationError(TillstreamError):
    """A setting is wrong, or two settings do not fit together. Raised before anything starts."""


class InvalidEventError(TillstreamError):
    """One event is not what its stream's schema says.

    Arguments:
        field: JSON path of the field within the event, such as `$.lines[0].quantity`; `$` is the event itself.
        expected: what was expected there, and what was found, in one short phrase.
    """

    def __init__(self, field: str, expected: str) -> None:
        super().__init__(f"{field}: {expected}")
        self.field = field
        self.expected = expected


class UndecodableEventError(InvalidEventError):
    """The bytes are not even JSON (or not UTF-8): nothing in them can be named."""

    def __init__(self, expected: str) -> None:
        super().__init__("$", expected)
