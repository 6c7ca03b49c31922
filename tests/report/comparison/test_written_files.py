import json
import re
from dataclasses import replace

from dtfl_private.experiments.comparing.compare import compare
from dtfl_private.report.comparison.document import as_json
from dtfl_private.report.comparison.written_files import comparison_files
from dtfl_private.report.pictures.comparison import COLOURS, group_styles


def test_compare_json_holds_the_promised_keys(comparison):
    found = as_json(comparison)
    first = found["runs"][0]
    assert {
        key: first[key]
        for key in (
            *("method", "seed", "target_accuracy", "time_to_target_s", "rounds_to_target"),
            *("bytes_to_target", "macs_to_target", "final_accuracy", "best_accuracy"),
        )
    } == {
        "method": "dtfl",
        "seed": 0,
        "target_accuracy": 0.7,
        "time_to_target_s": 16.0,
        "rounds_to_target": 2,
        "bytes_to_target": 20,
        "macs_to_target": 22,
        "final_accuracy": 0.7,
        "best_accuracy": 0.7,
    }
    dtfl, fedavg = found["methods"]
    assert dtfl["time_to_target_s"] == {"mean": 16.0, "ci_low": 16.0, "ci_high": 16.0, "at_least": None}
    assert fedavg["time_to_target_s"] == {"mean": None, "ci_low": None, "ci_high": None, "at_least": 160.0}
    assert (dtfl["speedup"], dtfl["speedup_at_least"], fedavg["speedup"]) == (None, 10.0, None)
    assert (fedavg["reached"], fedavg["n"], fedavg["seeds"], dtfl["baseline"]) == (1, 2, [0, 1], "fedavg")
    assert found["runs"][3]["time_to_target_s"] is None
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_pictures_are_drawn_for_each_setting_and_groups_keep_their_colours(write_run, tmp_path):
    paths = [
        write_run(tmp_path / f"{method}-{noise}-{seed}", [0.3, 0.6 + seed / 10], method=method, noise=noise, seed=seed)
        for method in ("dtfl", "fedavg")
        for noise in (0.0, 0.1)
        for seed in (0, 1)
    ]
    found = compare(paths, target=0.65, apart=True)
    files = comparison_files(found)
    assert set(files) == {"compare.json", "accuracy-1.png", "accuracy-2.png", "time-to-target.png"}
    assert all(data.startswith(b"\x89PNG") for name, data in files.items() if name.endswith(".png"))
    # That equal figures give equal bytes is shown by pages (SVG) and by pictures of class counts (PNG).
    as_svg = comparison_files(found, "svg")
    assert set(as_svg) == {"compare.json", "accuracy-1.svg", "accuracy-2.svg", "time-to-target.svg"}
    assert all(b"<svg" in data for name, data in as_svg.items() if name.endswith(".svg"))
    assert group_styles(found) == {"dtfl": (COLOURS[0], "-"), "fedavg": (COLOURS[1], "-")}


def test_long_names_of_settings_are_wrapped_above_their_panels(comparison):
    (setting,) = comparison.settings
    named = replace(comparison, settings=[replace(setting, name="a setting of many words " * 6)])
    picture = comparison_files(named, "svg")["time-to-target.svg"].decode()
    titles = re.findall(r"<!-- (a setting of .*?) -->", picture, flags=re.DOTALL)
    assert titles
    assert max(len(line) for line in titles[0].splitlines()) <= 35
