import struct

from rich.console import Console

from dtfl_private.report.pictures.costs import cost_picture
from dtfl_private.report.tables.networks import cuts_table
from dtfl_private.simulation.costs.cut_costs import choose


def shown(table: object) -> str:
    console = Console(width=200, record=True, markup=False)
    console.print(table)
    return console.export_text()


def test_the_cuts_are_shown_by_place_with_both_kinds_of_tiers(four_tiers):
    lines = shown(cuts_table(choose(four_tiers, ["stem", "one", "two", "three"], (0, 2), 2), title="cuts")).splitlines()
    rows = {
        line.split()[0]: line.split() for line in lines if line.split()[:1] in (["stem"], ["one"], ["two"], ["three"])
    }
    assert len(rows) == 4
    assert rows["stem"][-1] in {"1", "2"}
    assert "objective (unevenness in macs + width, less is better): automatic" in " ".join(lines)
    assert "own" in lines[-2] + lines[-1]


def test_the_picture_is_a_png_of_four_panels_and_always_the_same(four_tiers):
    settings = {"title": "net $5", "batch_size": 32, "cpu_macs_per_s": 1e9, "server_macs_per_s": 8e9}
    picture = cost_picture({"own cuts": four_tiers, "others": four_tiers.deepest(2)}, **settings)
    assert picture[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", picture[16:24])
    assert (width, height) == (1800, 540)
    assert cost_picture({"own cuts": four_tiers, "others": four_tiers.deepest(2)}, **settings) == picture
    assert cost_picture({"own cuts": four_tiers}, **settings) != picture
