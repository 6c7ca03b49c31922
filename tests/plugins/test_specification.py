import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dtfl_private.errors import InputError
from dtfl_private.plugins.installed import find
from dtfl_private.plugins.specification import Spec, canonical, is_object_path

words = st.text("abcxyz-_09.", min_size=1, max_size=6)


@given(words, st.dictionaries(words, words, max_size=4))
@settings(max_examples=50, deadline=None, derandomize=True)
def test_a_specification_is_read_back_as_it_was_written(name, wanted):
    text = f"{name}:{','.join(f'{key}={value}' for key, value in wanted.items())}" if wanted else name
    # Hyphens and underscores are alike in keys; of two keys that then agree, the form is refused.
    spelled = {key.replace("-", "_"): value for key, value in wanted.items()}
    if len(spelled) == len(wanted):
        assert Spec.parse(text) == Spec(name=name, settings=spelled)
    else:
        with pytest.raises(InputError, match="is not of the form"):
            Spec.parse(text)


@pytest.mark.parametrize(
    ("text", "name", "wanted"),
    [
        ("iid", "iid", {}),
        ("  iid  ", "iid", {}),
        ("static:3", "static", {"": "3"}),
        ("dirichlet:0.3,floor=5", "dirichlet", {"": "0.3", "floor": "5"}),
        ("a: b = 1 , c = 2", "a", {"b": "1", "c": "2"}),
        ("a:path=x=y", "a", {"path": "x=y"}),
        ("a:path=C:/data", "a", {"path": "C:/data"}),
    ],
)
def test_specifications(text, name, wanted):
    # Hyphens and underscores are alike in keys; of two keys that then agree, the form is refused.
    spelled = {key.replace("-", "_"): value for key, value in wanted.items()}
    if len(spelled) == len(wanted):
        assert Spec.parse(text) == Spec(name=name, settings=spelled)
    else:
        with pytest.raises(InputError, match="is not of the form"):
            Spec.parse(text)


@pytest.mark.parametrize("text", ["a:b=", "a:b=1,", "a:,b=1", "a:b=1,2", "a:1,2", "a:b=1,b=2", "", ":", ":b=1", "a:,"])
def test_malformed_specifications_are_refused_with_the_form_expected(text):
    with pytest.raises(InputError, match=re.escape("NAME[:key=value[,key=value...]]")):
        Spec.parse(text)


@pytest.mark.parametrize("spelling", ["resnet-56", "ResNet-56", "resnet_56", "RESNET56", "res-net-56"])
def test_hyphens_underscores_and_capitals_of_a_name_do_not_matter(spelling):
    assert find("model", spelling).name == "resnet-56"


def test_the_canonical_spelling_keeps_the_settings():
    assert canonical("partition", " Dirichlet:0.3,floor=5 ") == "dirichlet:0.3,floor=5"
    assert canonical("dataset", "FashionMNIST") == "fashion-mnist"


@pytest.mark.parametrize(
    ("kind", "text", "is_one"),
    [
        ("model", "nets:build", True),
        ("model", "my.nets:build:width=3", True),
        ("model", "resnet-8:x", False),
        ("model", "ResNet_8:x", False),
        ("model", "nets", False),
        ("model", "nets:width=3", False),
        ("model", "nets:3", False),
        ("scheduler", "static:m", False),
        ("model", "object:Mine", False),
    ],
)
def test_a_path_is_told_from_a_registered_name_with_settings(kind, text, is_one):
    assert is_object_path(kind, text) == is_one
