"""Settings of an attack."""

import pytest

from dtfl_private.attacking.attack_config import make_attack_config
from dtfl_private.errors import InputError


@pytest.mark.parametrize(
    ("values", "words"), [({"victims": 0}, "victims 0 is refused"), ({"seeds": "x"}, "seeds 'x' is refused")]
)
def test_a_refused_setting_is_one_line(values, words):
    with pytest.raises(InputError, match=words):
        make_attack_config(**values)
