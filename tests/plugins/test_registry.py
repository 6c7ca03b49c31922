import re

import pytest
from made_up_plugins import Noise, loader

from dtfl_private.data.partition import Dirichlet, Iid
from dtfl_private.errors import InputError
from dtfl_private.plugins.installed import find
from dtfl_private.plugins.registry import create
from dtfl_private.plugins.settings import explicit
from dtfl_private.plugins.specification import canonical
from dtfl_private.simulation.schedulers.baseline_schedulers import Static


@pytest.mark.usefixtures("noise")
def test_a_value_without_a_key_goes_to_the_first_setting():
    assert create("defense", "gaussian-noise:2,min_batch=3") == Noise(scale=2.0, min_batch=3)
    assert create("scheduler", "static:3") == Static(3)
    assert create("partition", "dirichlet:0.25") == Dirichlet(alpha=0.25)


def test_defaults_hold_where_nothing_is_said():
    assert create("partition", "iid") == Iid()
    assert create("partition", "dirichlet") == Dirichlet(alpha=0.5, floor=2)


def test_what_the_core_supplies_is_no_setting_of_the_user(offer):
    offer("dataset", "own", loader)
    assert create("dataset", "own:size=8", data_dir="here", download=True) == ("here", True, 8)
    assert create("dataset", "own:9", data_dir=None, download=False) == (None, False, 9)
    with pytest.raises(InputError, match="unknown setting of dataset 'own' 'download'"):
        create("dataset", "own:download=true", data_dir=None, download=False)


@pytest.mark.usefixtures("noise")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gaussian-noise:scael=1", "setting of defense 'gaussian-noise' 'scael': did you mean 'scale'? known: "),
        ("gaussian-noise:scale=0", "defense 'gaussian-noise': scale=0 is refused: Input should be greater than 0"),
        ("gaussian-noise:much", "defense 'gaussian-noise': scale=much is refused: Input should be a valid number"),
        ("gaussian-noise:1,kind=cauchy", "kind=cauchy is refused: Input should be 'normal' or 'laplace'"),
        ("gaussian-noise:1,per_channel=perhaps", "per_channel=perhaps is refused: Input should be a valid boolean"),
        ("gaussian-noise:1,min_batch=2.5", "min_batch=2.5 is refused: Input should be a valid integer"),
        ("gaussian-noise", "needs a value for 'scale': write gaussian-noise:scale=VALUE"),
        ("gaussian-noise:kind=normal", "needs a value for 'scale': write gaussian-noise:scale=VALUE"),
        ("gaussian-noise:1,scale=2", "'gaussian-noise:1,scale=2' gives 'scale' twice"),
        ("gaussian-noise:1,min-batch=2,min_batch=3", "is not of the form NAME"),
        ("identity:1", "defense 'identity' takes no settings, but 'identity:1' gives '1'"),
        ("identity:x=1", "defense 'identity' takes no settings, but 'identity:x=1' gives 'x'"),
        ("object:Noise", "was an object passed from Python: pass it to dtfl_private.train again"),
    ],
)
def test_refusals_are_one_line_that_names_the_value(text, message):
    with pytest.raises(InputError, match=re.escape(message)) as refusal:
        create("defense", text)
    assert "\n" not in str(refusal.value)


def test_an_unknown_name_is_refused_with_the_nearest():
    for ask in (find, canonical, create, explicit):
        with pytest.raises(InputError, match=r"unknown partition 'dirichlit': did you mean 'dirichlet'\? known: "):
            ask("partition", "dirichlit")
