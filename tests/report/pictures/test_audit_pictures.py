import re

import matplotlib as mpl
import pytest
from audit_samples import attacked, auxiliary_curve, contrast, full, strongest

from dtfl_private.report.pictures.accuracy_leakage import accuracy_leakage_picture
from dtfl_private.report.pictures.audit import audit_pictures, by_tier_picture, drawn_results
from dtfl_private.report.pictures.auxiliary_curve import auxiliary_curve_picture
from dtfl_private.report.pictures.by_client import by_client_picture, drawn_clients
from dtfl_private.report.pictures.themes import DARK, LIGHT, recoloured
from dtfl_private.verdicts.selected_results import drawn_metrics, leakage_metric


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
    found = full(results=results, strongest=best, verdict=verdicts, compared=None, by_client=[])
    assert (drawn_metrics(found), leakage_metric(found)) == (["auc"], "auc")
    assert set(audit_pictures(found)) == {"accuracy-leakage.png", "leakage-auc.png"}


def test_clients_are_drawn_by_the_comparison_that_shows_most():
    pictures = audit_pictures(full())
    shown, other = full().by_client
    assert pictures["by-client-ssim.png"] == by_client_picture(shown) != by_client_picture(other)
    assert [client.client for client in drawn_clients(shown)] == [3, 9, 8, 7, 6, 5, 4, 2, 1, 0]


def test_without_results_there_are_no_pictures():
    empty = full(results=[], strongest=[], verdict=[], compared=None, by_client=[])
    assert audit_pictures(empty) == {}
    with pytest.raises(ValueError, match="no attack"):
        accuracy_leakage_picture(empty)
    with pytest.raises(ValueError, match="no results with the metric 'ssim'"):
        by_tier_picture(empty, "ssim")


def test_leakage_against_the_attacker_s_data_is_drawn_where_it_was_measured():
    assert auxiliary_curve_picture(full()).startswith(b"\x89PNG")
    higher = full(auxiliary_curve=auxiliary_curve(0.4))
    assert auxiliary_curve_picture(full(), form="svg") != auxiliary_curve_picture(higher, form="svg")
    with pytest.raises(ValueError, match="has not measured"):
        auxiliary_curve_picture(full(auxiliary_curve=()))


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
    # Markers are named by a digest of what they are.
    again, drawn = (re.sub(rb"m[0-9a-f]{10}", b"", one) for one in (recoloured(light, LIGHT, DARK), dark))
    assert again == drawn
    assert dict(mpl.rcParams) == before
