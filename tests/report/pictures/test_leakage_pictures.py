import io

import matplotlib as mpl
import pytest
from leakage_results import made
from PIL import Image

from dtfl_private.report.pictures import leakage as module
from dtfl_private.report.pictures.leakage import leakage_picture


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


def test_names_from_a_file_are_drawn_as_they_are_without_formulas_or_control_characters(axes):
    results = [made(source="$\\nonsense$", baseline=0.1, baseline_name="\x1b[2J"), made(source="_hidden", value=0.3)]
    leakage_picture(results, "ssim", title="$\\nonsense$")
    _, texts = axes[0].get_legend_handles_labels()
    assert sorted(texts) == [" _hidden", "$\\nonsense$", r"guess: \x1b[2J"]
