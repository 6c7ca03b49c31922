"""A plug-in that is offered in the tests."""

import pytest
from made_up_plugins import Noise


@pytest.fixture
def noise(offer):
    offer("defense", "gaussian-noise", Noise)
