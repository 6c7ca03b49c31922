import pytest
import torch

from dtfl_private.attacking.knowledge.adversary_data import NON_MEMBER_SHARE, _parts
from dtfl_private.auditing.audit_config import OF_TEXTS, PRESETS, AuditConfig, make_audit_config
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
    for texts in (quick.attacks, thorough.attacks, *OF_TEXTS.values()):
        for text in texts:
            create("attack", text)
    names = [{text.partition(":")[0] for text in OF_TEXTS[preset]} for preset in PRESETS]
    assert names[0] < names[1]


@pytest.mark.parametrize(("test_images", "most"), [(26_032, 10_000), (10_000, 6_250)])
def test_the_thorough_preset_s_curve_ends_at_ten_thousand_images_where_there_are_as_many(test_images, most):
    aux_images = AuditConfig(preset="thorough").settled().aux_images
    left = torch.arange(test_images - int(test_images * NON_MEMBER_SHARE))
    train, _ = _parts(left[:aux_images])
    assert len(train) == most
