"""Audits of what a run recorded: of that round, of the tiers in which its clients were."""

import pytest

from dtfl_private.auditing.audit_config import AuditConfig
from dtfl_private.auditing.repeat import options_of
from dtfl_private.errors import InputError

RUN = {"record_rounds": [1], "scheduler": "static:2"}


def test_what_was_recorded_is_attacked_and_nothing_else(trained, examine):
    folder = trained(**RUN)
    replayed, recorded = examine(folder, out=folder / "a").findings, examine(folder, recorded=True).findings
    assert (replayed.round, recorded.round) == (2, 1)
    assert {result.tier for result in replayed.results} > {result.tier for result in recorded.results} == {2}
    assert recorded.as_scheduled == ()
    assert recorded.valid
    assert any("what was recorded of round 1" in one.why for one in recorded.not_tested)


def test_where_nothing_was_recorded_that_is_said_before_anything_is_done(trained, examine, tmp_path):
    with pytest.raises(InputError, match=r"no round of .* was recorded: leave --recorded out, or .* record_rounds"):
        examine(trained(), recorded=True)
    assert not (tmp_path / "audit").exists()


def test_the_command_that_repeats_it_says_so():
    assert options_of(AuditConfig(recorded=True).settled())[-1] == "--recorded"
    assert "--recorded" not in options_of(AuditConfig().settled())
