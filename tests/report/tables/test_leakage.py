import io
from io import StringIO
from typing import Any

import matplotlib as mpl
import pytest
from PIL import Image
from rich.console import Console

from dtfl_private.leakage.result import Result
from dtfl_private.report.tables import leakage as module
from dtfl_private.report.tables.leakage import labels, leakage_picture, leakage_table


def made(**values: Any) -> Result:
    value = values.setdefault("value", 0.5)
    given = {
        "tier": 1,
        "cut": [16, 28, 28],
        "source": "decoder",
        "metric": "ssim",
        "ci_low": value - 0.1,
        "ci_high": value + 0.2,
        "n": 100,
        "seeds": 3,
        "adaptive": True,
    }
    return Result.model_validate({**given, **values})


def lines(results: list[Result]) -> list[str]:
    file = StringIO()
    Console(file=file, width=200, color_system=None).print(leakage_table(results, title="what leaked"))
    return [" ".join(line.split()) for line in file.getvalue().splitlines() if line.strip()]


def test_a_row_for_each_attack_of_a_tier_with_intervals_and_what_to_compare_with():
    found = lines(
        [
            made(metric="psnr", value=20.26, baseline=10.0, baseline_name="class-mean"),
            made(value=0.7, baseline=0.1, baseline_name="mean-image", undefended=0.9),
            made(source="nearest-auxiliary", value=0.3, seeds=1),
            made(tier=3, cut=[64, 7, 7], value=0.4, n=50, adaptive=False),
        ]
    )
    assert found[0] == "what leaked"
    assert found[1] == "tier attack n PSNR, dB SSIM"
    rows = found[3:]
    assert rows[:7] == [
        "1 decoder 100 20.3 0.700",
        "16x28x28 20.2 to 20.5 0.600 to 0.900",
        "decoder, undefended 0.900",
        "oracle: nearest-auxiliary 100 0.300",
        "0.200 to 0.500",
        "guess: class-mean 10.0",
        "guess: mean-image 0.100",
    ]
    assert rows[7] == "3 decoder, not adaptive 50 0.400"
    assert "seeds: 1-3" in " ".join(rows[8:])


def test_of_images_the_headline_metrics_are_shown_and_of_others_all():
    names = ["mse", "mse-worst-5", "psnr", "ssim", "ssim-worst-5", "identifiability", "auc", "own-figure"]
    heading = lines([made(metric=name) for name in names])[1]
    assert heading == "tier attack n PSNR, dB SSIM SSIM, worst 5% identifiability AUC own-figure"


def test_names_from_a_file_are_no_markup():
    assert "[red]evil[/red]" in " ".join(lines([made(source="[red]evil[/red]")]))


def test_a_table_without_results_can_be_shown():
    assert lines([])[0] == "what leaked"


@pytest.fixture
def axes(monkeypatch):
    """Keep the axes that a picture is drawn on."""
    kept = []
    attacks_first = module.attacks_first

    def recorded(drawn):
        kept.append(drawn)
        return attacks_first(drawn)

    monkeypatch.setattr(module, "attacks_first", recorded)
    return kept


PICTURED = [
    made(tier=tier, source=source, value=value, baseline=0.1, baseline_name="mean-image", undefended=undefended)
    for tier, source, value, undefended in [
        (3, "decoder", 0.3, None),
        (1, "decoder", 0.8, 0.9),
        (1, "hybrid", 0.85, None),
        (3, "hybrid", 0.4, None),
    ]
] + [made(tier=1, source="nearest-auxiliary", value=0.2), made(tier=1, metric="psnr", value=20)]


def test_a_line_with_intervals_for_each_attack_and_grey_ones_for_guesses(axes):
    picture = leakage_picture(PICTURED, "ssim", title="SSIM by $tier")
    assert Image.open(io.BytesIO(picture)).format == "PNG"
    (drawn,) = axes
    handles, texts = drawn.get_legend_handles_labels()
    assert sorted(texts) == [
        "decoder",
        "decoder, undefended",
        "guess: mean-image",
        "hybrid",
        "oracle: nearest-auxiliary",
    ]
    assert [handle.get_label() for handle in module.attacks_first(drawn)][:2] == ["decoder", "hybrid"]
    by_name = dict(zip(texts, handles, strict=True))
    line, _, (bars,) = by_name["decoder"]
    assert line.get_ydata().tolist() == [0.8, 0.3]
    assert line.get_xdata().tolist() == pytest.approx([1 - module.APART / 2, 3 - module.APART / 2])
    ends = [segment[:, 1].tolist() for segment in bars.get_segments()]
    assert ends == [pytest.approx([0.7, 1.0]), pytest.approx([0.2, 0.5])]
    assert by_name["guess: mean-image"].get_ydata() == pytest.approx([0.1, 0.1])
    assert by_name["oracle: nearest-auxiliary"].get_ydata() == pytest.approx([0.2])
    assert by_name["decoder, undefended"].get_ydata() == pytest.approx([0.9])


def test_the_same_results_make_the_same_picture_and_matplotlib_is_left_as_it_was():
    before = dict(mpl.rcParams)
    first, second = (leakage_picture(PICTURED, "ssim", title="twice") for _ in range(2))
    assert first == second
    assert dict(mpl.rcParams) == before


def test_a_metric_without_results_is_refused():
    with pytest.raises(ValueError, match="no results with the metric 'auc'"):
        leakage_picture(PICTURED, "auc", title="none")


def test_attacks_of_one_name_are_told_apart_and_none_is_left_out():
    results = [made(), made(adaptive=False), made(value=0.6), made(metric="psnr"), made(tier=2)]
    assert labels(results) == ["decoder", "decoder, not adaptive", "decoder #2", "decoder", "decoder"]
    found = lines(results)
    assert "1 decoder 100 0.500 0.5" in found
    assert "decoder #2 100 0.600" in found


def test_names_from_a_file_are_drawn_as_they_are_without_formulas_or_control_characters(axes):
    results = [made(source="$\\nonsense$", baseline=0.1, baseline_name="\x1b[2J"), made(source="_hidden", value=0.3)]
    leakage_picture(results, "ssim", title="$\\nonsense$")
    _, texts = axes[0].get_legend_handles_labels()
    assert sorted(texts) == [" _hidden", "$\\nonsense$", r"guess: \x1b[2J"]
