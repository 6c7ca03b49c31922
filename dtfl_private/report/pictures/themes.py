"""Colours of pictures for light and for dark pages, told apart also with a colour-vision deficiency."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.rcsetup import cycler


@dataclass(frozen=True, kw_only=True)
class Theme:
    """Colours of one page background.

    Attributes:
        ink: text, axes.
        faint: grid.
        colours: of lines, each with a contrast of at least 3:1 to the page.
        page: the background; "none" leaves it to the page.
    """

    ink: str
    faint: str
    colours: Sequence[str]
    page: str = "none"

    @property
    def rc(self) -> dict[Any, Any]:
        """Settings of matplotlib, whose type spells out all names there are."""
        return {
            "axes.edgecolor": self.ink,
            "axes.facecolor": self.page,
            "axes.labelcolor": self.ink,
            "axes.prop_cycle": cycler("color", list(self.colours)),
            "axes.spines.right": False,
            "axes.spines.top": False,
            "figure.facecolor": self.page,
            "font.size": 9,
            "grid.color": self.faint,
            "legend.frameon": False,
            "text.color": self.ink,
            # Names may hold dollar signs, which are no formulas.
            "text.parse_math": False,
            "xtick.color": self.ink,
            "ytick.color": self.ink,
        }


# Variants of Okabe and Ito's colours.
_DEEP = ("#0069a6", "#bd4b00", "#00755a", "#9b3f82", "#6b6200")
_PALE = ("#63b9ef", "#f29a5c", "#45cfa6", "#e69cca", "#d4c95a")

PAPER = Theme(ink="#1d2127", faint="#dcdad5", colours=_DEEP, page="white")
LIGHT = Theme(ink="#1d2127", faint="#dcdad5", colours=_DEEP)
DARK = Theme(ink="#e7e6e3", faint="#3a4048", colours=_PALE)


def recoloured(svg: bytes, drawn: Theme, wanted: Theme) -> bytes:
    """Return an SVG picture that was drawn in one theme in the colours of another, without drawing it again."""
    pairs = zip((drawn.ink, drawn.faint, *drawn.colours), (wanted.ink, wanted.faint, *wanted.colours), strict=True)
    for old, new in pairs:
        svg = svg.replace(old.encode(), new.encode())
    return svg
