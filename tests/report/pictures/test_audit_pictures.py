import io

import matplotlib as mpl
import pytest
from audit_samples import attacked, contrast, full, minimal, strongest
from PIL import Image

from dtfl_private.leakage.selection import drawn_metrics, leakage_metric
from dtfl_private.report.pictures import audit as module
from dtfl_private.report.pictures.accuracy_leakage import accuracy_leakage_picture, accuracy_leakage_series
from dtfl_private.report.pictures.audit import audit_pictures, by_tier_picture, drawn_results
from dtfl_private.report.pictures.themes import DARK, LIGHT


@pytest.fixture
def axes(monkeypatch):
    """Keep the axes that a picture is drawn on."""
    kept = []
    scale = module._scale

    def recorded(drawn, accuracies):
        kept.append(drawn)
        scale(drawn, accuracies)

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
    assert [names.count(f"m={tier}") for tier in (1, 2, 3, 4)] == [3] * 4
    assert len({handle.get_marker() for handle in list(by_name.values())[:3]}) == 3


def test_an_undefended_run_alone_is_called_so():
    (series,) = accuracy_leakage_series(minimal())
    assert (series.name, [tier for tier, *_ in series.points]) == ("this run, undefended", [1])


def test_undefended_leakage_without_its_accuracy_is_not_drawn():
    training = full().training.model_copy(update={"undefended_accuracy": None})
    assert [series.name for series in accuracy_leakage_series(full(training=training))] == ["this run", "compared run"]


def test_names_of_near_points_do_not_cover_each_other(axes):
    accuracy_leakage_picture(full())
    texts = [text for text in axes[0].texts if text.get_text() in ("m=1", "m=2")]
    heights = {text.get_text(): text.xyann[1] for text in texts if text.xy[1] == 0.7912}
    assert heights["m=1"] > heights["m=2"]


def test_by_tier_only_attacks_that_are_strongest_somewhere_are_drawn_with_all_guesses():
    sources = {result.source for result in drawn_results(full(), "ssim")}
    assert sources == {"decoder", "hybrid", "mean-image", "nearest-auxiliary"}


def test_the_usual_metrics_of_images_are_drawn_or_what_the_verdict_was_decided_by():
    assert drawn_metrics(full()) == ["ssim", "psnr", "identifiability"]
    assert leakage_metric(full()) == "ssim"
    results = [{**one, "metric": "auc"} for one in attacked() if one["metric"] == "ssim"]
    best = strongest(results)
    verdicts = [
        verdict.model_copy(update={"strongest": verdict.strongest.model_copy(update={"metric": "auc"})})
        for verdict in full().verdict
    ]
    found = full(results=results, strongest=best, verdict=verdicts, compared=None)
    assert (drawn_metrics(found), leakage_metric(found)) == (["auc"], "auc")
    assert set(audit_pictures(found)) == {"accuracy-leakage.png", "leakage-auc.png"}


def test_without_results_there_are_no_pictures():
    empty = full(results=[], strongest=[], verdict=[], compared=None)
    assert audit_pictures(empty) == {}
    with pytest.raises(ValueError, match="no attack"):
        accuracy_leakage_picture(empty)
    with pytest.raises(ValueError, match="no results with the metric 'ssim'"):
        by_tier_picture(empty, "ssim")


@pytest.mark.parametrize(("theme", "page"), [(LIGHT, "#faf9f7"), (DARK, "#14161a")])
def test_colours_of_pictures_stand_out_from_their_page(theme, page):
    assert contrast(theme.ink, page) >= 4.5
    assert min(contrast(colour, page) for colour in (*theme.colours, "#808080")) >= 3


def test_the_two_themes_differ_and_leave_matplotlib_as_it_was():
    before = dict(mpl.rcParams)
    light, dark = (by_tier_picture(full(), "ssim", form="svg", theme=theme) for theme in (LIGHT, DARK))
    assert light == by_tier_picture(full(), "ssim", form="svg", theme=LIGHT)
    assert LIGHT.ink.encode() in light
    assert DARK.ink.encode() in dark
    assert dict(mpl.rcParams) == before
