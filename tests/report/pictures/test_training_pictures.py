import re

import matplotlib as mpl
import pytest

from dtfl_private.report.pictures.training import plot_runs, plot_training


def records(*tiers: dict[str, int]) -> list:
    return [
        {"round": n, "test_accuracy": 0.1 * n, "virtual_time_s": 10.0 * n, "tiers": assigned}
        for n, assigned in enumerate(tiers, start=1)
    ]


TWO = records({"0": 1, "1": 3}, {"0": 3, "1": 3})


def labels(svg: str) -> list[str]:
    return re.findall(r"<!-- (.*?) -->", svg)


def test_a_png_is_written_and_matplotlib_left_as_it_was(tmp_path):
    before = dict(mpl.rcParams)
    plot_training(TWO, tmp_path / "curve.png", title="a run")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert dict(mpl.rcParams) == before


def test_an_svg_names_axes_tiers_and_title_and_equal_runs_make_equal_files(tmp_path):
    for name in ("one", "two"):
        plot_training(TWO, tmp_path / f"{name}.svg", title="a run")
    svg = (tmp_path / "one.svg").read_text()
    assert svg == (tmp_path / "two.svg").read_text()
    found = labels(svg)
    for text in ("a run", "round", "test accuracy", "simulated time, s", "clients", "tier m", "3"):
        assert text in found


def test_several_runs_are_told_apart_by_name(tmp_path):
    others = records({"0": 2, "1": 2})
    plot_runs({"dynamic": TWO, "static": others}, tmp_path / "runs.svg", title="both")
    found = labels((tmp_path / "runs.svg").read_text())
    assert {"dynamic", "static", "clients, dynamic"} <= set(found)


@pytest.mark.parametrize("tiers", [[{"0": 7}], [{"0": 1}, {}, {"0": 2}]])
def test_a_single_round_and_a_round_without_clients_can_be_drawn(tmp_path, tiers):
    plot_training(records(*tiers), tmp_path / "curve.svg", title="small")
    assert (tmp_path / "curve.svg").read_text().rstrip().endswith("</svg>")
