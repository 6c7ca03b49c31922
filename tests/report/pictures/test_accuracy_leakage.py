import io

import pytest
from audit_samples import full, minimal
from PIL import Image

from dtfl_private.report.pictures import accuracy_leakage as module
from dtfl_private.report.pictures.accuracy_leakage import accuracy_leakage_picture, accuracy_leakage_series, ranges


@pytest.fixture
def axes(monkeypatch):
    """Keep the axes that a picture is drawn on."""
    kept = []
    scale = module._scale

    def recorded(drawn, *given):
        kept.append(drawn)
        scale(drawn, *given)

    monkeypatch.setattr(module, "_scale", recorded)
    return kept


def test_accuracy_stands_against_leakage_for_this_run_the_undefended_and_the_other(axes):
    picture = accuracy_leakage_picture(full())
    assert Image.open(io.BytesIO(picture)).format == "PNG"
    (drawn,) = axes
    handles, texts = drawn.get_legend_handles_labels()
    by_name = dict(zip(texts, handles, strict=True))
    assert list(by_name) == ["this run", "undefended", "compared run", "trivial guess"]
    assert by_name["this run"].get_xdata().tolist() == [0.83, 0.63, 0.38, 0.16]
    assert by_name["this run"].get_ydata().tolist() == [0.6843] * 4
    assert by_name["undefended"].get_xdata().tolist() == [0.98, 0.92, 0.74, 0.39]
    assert by_name["undefended"].get_ydata().tolist() == [0.7912] * 4
    assert by_name["compared run"].get_ydata().tolist() == [0.612] * 4
    names = [text.get_text() for text in drawn.texts]
    assert [names.count(f"{tier}") for tier in (1, 2, 3, 4)] == [3] * 4
    low, high = drawn.get_xlim()
    assert -0.1 < low < 0.11
    assert 0.98 < high < 1.1
    assert len({handle.get_marker() for handle in list(by_name.values())[:3]}) == 3


def test_an_undefended_run_alone_is_called_so():
    (series,) = accuracy_leakage_series(minimal())
    assert (series.name, [tier for tier, *_ in series.points]) == ("this run, undefended", [1])


def test_undefended_leakage_without_its_accuracy_is_not_drawn():
    training = full().training.model_copy(update={"undefended_accuracy": None})
    assert [series.name for series in accuracy_leakage_series(full(training=training))] == ["this run", "compared run"]


def test_names_of_near_points_do_not_cover_each_other(axes):
    accuracy_leakage_picture(full())
    texts = [text for text in axes[0].texts if text.get_text() in ("1", "2")]
    heights = {text.get_text(): text.xyann[1] for text in texts if text.xy[1] == 0.7912}
    assert heights["1"] > heights["2"]


def test_points_that_all_but_coincide_share_a_name(axes):
    results = [{**one.model_dump(), "value": 0.99, "ci_low": 0.985, "ci_high": 0.995} for one in full().strongest]
    accuracy_leakage_picture(full(strongest=results, results=results))
    names = [text for text in axes[0].texts if "better" not in text.get_text()]
    assert [text.get_text() for text in names if text.xy[1] == 0.6843] == ["1-4"]
    assert ranges([5, 1, 2, 3]) == "1-3, 5"
