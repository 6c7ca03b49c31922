"""Why a frame is refused."""

from dtfl_private.printable import one_line


class WireError(ValueError):
    """A frame that is not believed: one line that may be shown, naming what was checked, the value, what is expected.

    Whoever sent it is at fault, or speaks another version; the process that reads it goes on.
    """

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))
