"""How figures become files: PNG for people, SVG where a text is wanted."""

import io
from typing import Literal

import matplotlib as mpl
from matplotlib.figure import Figure

PictureForm = Literal["png", "svg"]


def picture_bytes(figure: Figure, form: PictureForm) -> bytes:
    """Return a figure as a file's bytes; equal figures give equal bytes."""
    picture = io.BytesIO()
    # SVG would hold the date, and names drawn at random.
    with mpl.rc_context({"svg.hashsalt": "dtfl-private"}):
        figure.savefig(picture, dpi=150, format=form, metadata={"Date": None} if form == "svg" else None)
    return picture.getvalue()
