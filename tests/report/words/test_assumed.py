"""What an audit took for granted is said wherever its findings are shown; without it nothing of the kind is."""

import pytest
from audit_samples import full

from dtfl_private.report.html.page import audit_page
from dtfl_private.report.tables.audit import audit_output
from dtfl_private.report.words.assumed import assumed_plainly, assumed_sentences
from dtfl_private.report.words.headline import headline

pytestmark = pytest.mark.usefixtures("pictures_drawn_once")


def texts(findings):
    printed = " ".join(str(shown) for shown in audit_output(findings))
    return [" ".join(headline(findings).also), printed, audit_page(findings, {}, {})]


def test_it_is_on_top_at_the_end_of_the_command_and_by_the_adversaries():
    plain, assumed = full(), full().model_copy(update={"assumed": ("secure-aggregation",)})
    assert not any("ssumed, not shown" in text for text in texts(plain))
    for text in texts(assumed):
        assert "ssumed, not shown" in text
    threat = audit_page(assumed, {}, {}).partition('id="threat"')[2]
    assert "Secure aggregation is assumed, not shown" in threat


def test_a_name_from_elsewhere_is_shown_and_escaped():
    findings = full().model_copy(update={"assumed": ("<b>tee</b>", "other")})
    assert assumed_sentences(findings) == ["<b>tee</b> is assumed, not shown.", "Other is assumed, not shown."]
    assert len(assumed_plainly(findings)) == 1
    assert "<b>tee</b>" not in audit_page(findings, {}, {})
