import pytest

from dtfl_private.auditing.audit_config import AuditConfig, make_audit_config
from dtfl_private.errors import InputError
from dtfl_private.plugins.registry import create


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"preset": "slow"}, "unknown preset 'slow': known: quick, thorough"),
        ({"seeds": 0}, "seeds 0 is refused"),
        ({"measured": 3}, "measured 3 is refused"),
        ({"nonsense": 3}, "nonsense 3 is refused"),
    ],
)
def test_wrong_settings_are_one_line(settings, reason):
    with pytest.raises(InputError, match=reason):
        make_audit_config(**settings)


def test_the_presets_differ_in_what_they_attack():
    quick, thorough = AuditConfig().settled(), AuditConfig(preset="thorough").settled()
    assert quick.seeds >= 3
    assert thorough.training_seeds >= 3
    assert len(thorough.attacks) > len(quick.attacks)
    for settled in (quick, thorough):
        for text in settled.attacks:
            create("attack", text)
