from collections.abc import Callable

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.font_manager import FontEntry, fontManager

from dtfl_private.report.pictures import saving as pictures
from dtfl_private.report.pictures.costs import cost_picture
from dtfl_private.report.pictures.distribution import distribution_picture
from dtfl_private.report.pictures.gallery import gallery
from dtfl_private.report.pictures.leakage import leakage_picture
from dtfl_private.report.pictures.saving import drawable, literal, picture_bytes, put_heading
from dtfl_private.report.pictures.training import plot_runs

# Control characters, half a surrogate pair, a character that no font has, mathematics that is none, markup, a script
# that needs a font of its own.
HOSTILE = "\x1b[2J\x07 \udcff \U0010fffd $\\frac{$ [red] 猫"


@pytest.fixture
def no_wide_fonts(monkeypatch):
    """As on a machine without a font for Chinese, Japanese and Korean."""
    monkeypatch.setattr(pictures, "_wide_fonts", lambda: ())
    pictures._code_points.cache_clear()
    yield
    pictures._code_points.cache_clear()


@pytest.mark.usefixtures("no_wide_fonts")
def test_what_no_font_has_is_spelled_out():
    assert drawable("Übergröße ≤ 3 µm → ▲") == "Übergröße ≤ 3 µm → ▲"
    assert drawable("猫 cat\nline") == "\\u732b cat\nline"
    assert drawable("\x1b[2J\udcff") == r"\x1b[2J\udcff"
    assert literal("a$b") == r"a\$b"


def test_a_wide_font_of_this_machine_is_used_where_there_is_one(monkeypatch):
    # Any font stands for it here: the name decides.
    file = mpl.font_manager.findfont("STIXGeneral")
    entry = FontEntry(fname=file, name=pictures.WIDE_FONTS[3])
    monkeypatch.setattr(fontManager, "ttflist", [*fontManager.ttflist, entry])
    pictures._wide_fonts.cache_clear()
    try:
        assert pictures.WIDE_FONTS[3] in pictures._wide_fonts()
        figure = Figure()
        text = figure.suptitle("title")
        picture_bytes(figure, "svg")
        assert text.get_fontfamily()[-1] == pictures.WIDE_FONTS[3]
    finally:
        pictures._wide_fonts.cache_clear()
        pictures._code_points.cache_clear()


@pytest.mark.usefixtures("no_wide_fonts")
def test_a_class_that_cannot_be_drawn_is_named_with_its_number():
    drawn: list[str] = []
    keep = mpl.axes.Axes.legend

    def legend(axes: mpl.axes.Axes, *arguments: object, **settings: object) -> object:
        drawn.extend(axes.get_legend_handles_labels()[1])
        return keep(axes, *arguments, **settings)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mpl.axes.Axes, "legend", legend)
        distribution_picture(np.ones((2, 4), dtype=int), ("cat", "猫", "\udcff", "_a" * 60), title=HOSTILE)
    assert drawn[:3] == ["cat", "1 \\u732b", "2 \\udcff"]
    assert drawn[3].startswith("3 _a_a")
    assert len(drawn[3]) < 80


@pytest.fixture
def hostile_pictures(four_tiers, write_run, figure, patterns, tmp_path) -> dict[str, Callable[[], object]]:
    """Every kind of picture, with names of unknown origin in it."""
    from dtfl_private.experiments.run_folder.folder import RunFolder
    from dtfl_private.experiments.run_folder.rounds_file import read_records

    records, _ = read_records(RunFolder(path=write_run(tmp_path / "run", [0.5, 0.6])))
    images = patterns.test_images.float() / 255
    return {
        "cost": lambda: cost_picture(
            {HOSTILE: four_tiers}, title=HOSTILE, batch_size=2, cpu_macs_per_s=1e9, server_macs_per_s=1e9
        ),
        "curve": lambda: plot_runs({HOSTILE: records, "b": records}, tmp_path / "a.png", title=HOSTILE),
        "distribution": lambda: distribution_picture(np.ones((2, 2), dtype=int), (HOSTILE, "b"), title=HOSTILE),
        "leakage": lambda: leakage_picture(
            [figure(tier, 0.3, source=HOSTILE.replace("\udcff", "")) for tier in (1, 2)], "ssim", title=HOSTILE
        ),
        "gallery": lambda: gallery(images, {HOSTILE: images}, title=HOSTILE),
    }


@pytest.mark.usefixtures("no_wide_fonts")
@pytest.mark.parametrize("kind", ["cost", "curve", "distribution", "leakage", "gallery"])
def test_names_of_unknown_origin_are_drawn_without_a_warning(hostile_pictures, kind):
    hostile_pictures[kind]()  # warnings are errors in these tests


def test_a_picture_takes_the_place_of_a_pipe_without_writing_to_it(write_run, tmp_path):
    import os

    from dtfl_private.experiments.run_folder.folder import RunFolder
    from dtfl_private.experiments.run_folder.rounds_file import read_records

    os.mkfifo(tmp_path / "training.png")
    records, _ = read_records(RunFolder(path=write_run(tmp_path / "run", [0.5])))
    plot_runs({"": records}, tmp_path / "training.png", title="a run")
    assert (tmp_path / "training.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("width", [5.5, 12.0])
def test_a_long_heading_is_within_its_figure(width):
    figure = Figure(figsize=(width, 3), layout="constrained")
    figure.subplots()
    put_heading(figure, "max train images 58800, clients 10000, fraction 0.01; " * 6)
    figure.draw_without_rendering()
    box = figure._suptitle.get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.x1
    assert box.width > 0.7 * figure.bbox.width
