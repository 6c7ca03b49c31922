"""How figures become files: PNG for people, SVG where a text is wanted.

Texts may be of unknown origin. Scripts that matplotlib's own font lacks are drawn by a font of this machine, if one of
`WIDE_FONTS` is there; what no font has is spelled out by its code point, as control characters are.
"""

import io
import textwrap
from functools import cache
from typing import Literal

import matplotlib as mpl
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.text import Text

from dtfl_private.printable import printable_lines

PictureForm = Literal["png", "svg"]

HEADING_POINTS = 9
# About the width of a letter of that size, in inches.
HEADING_LETTER_IN = 0.078

# Fonts that hold Chinese, Japanese and Korean, of the usual systems.
WIDE_FONTS = (
    *("Noto Sans CJK JP", "Noto Sans CJK SC", "Noto Sans JP", "Noto Sans SC", "Source Han Sans", "WenQuanYi Zen Hei"),
    *("WenQuanYi Micro Hei", "IPAexGothic", "TakaoGothic", "Droid Sans Fallback", "NanumGothic", "Unifont"),
    *("Microsoft YaHei", "SimHei", "Yu Gothic", "MS Gothic", "Malgun Gothic"),
    *("Hiragino Sans", "PingFang SC", "PingFang HK", "Apple SD Gothic Neo", "Arial Unicode MS"),
)


def picture_bytes(figure: Figure, form: PictureForm) -> bytes:
    """Return a figure as a file's bytes; equal figures give equal bytes."""
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        text.set_text(drawable(text.get_text()))
        text.set_fontfamily([*text.get_fontfamily(), *_wide_fonts()])
    picture = io.BytesIO()
    # SVG would hold the date, and names drawn at random.
    with mpl.rc_context({"svg.hashsalt": "dtfl-private"}):
        figure.savefig(picture, dpi=150, format=form, metadata={"Date": None} if form == "svg" else None)
    return picture.getvalue()


def drawable(text: str) -> str:
    """Return a text that matplotlib draws without a warning: printable, and spelled out where no font has a glyph."""
    return "\n".join(map(_spelled, printable_lines(text).split("\n")))


def put_heading(figure: Figure, text: str) -> None:
    """Write a text above a figure, as it is, in as many lines as it needs."""
    letters = int(figure.get_figwidth() / HEADING_LETTER_IN)
    figure.suptitle(literal(textwrap.fill(text, letters)), fontsize=HEADING_POINTS)


def literal(text: str) -> str:
    """Return a text that matplotlib draws as it is: `drawable`, and without what it would take for mathematics."""
    return drawable(text).replace("$", r"\$")


def _spelled(line: str) -> str:
    if line.isascii():
        return line
    known = _code_points()
    return "".join(
        character if ord(character) in known else character.encode("unicode_escape").decode("ascii")
        for character in line
    )


@cache
def _wide_fonts() -> tuple[str, ...]:
    installed = {font.name for font in font_manager.fontManager.ttflist}
    return tuple(name for name in WIDE_FONTS if name in installed)


@cache
def _code_points() -> frozenset[int]:
    """Return the code points that the fonts of a picture have glyphs for."""
    families = [*mpl.rcParams["font.family"], *_wide_fonts()]
    fonts = {font_manager.findfont(font_manager.FontProperties(family=[family])) for family in families}
    return frozenset(point for path in fonts for point in font_manager.get_font(path).get_charmap())
