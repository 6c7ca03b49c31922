import re

import pytest

from dtfl_private.report.words.glossary import GLOSSARY, FirstUses


def test_a_term_is_given_where_it_first_stands_and_never_again():
    first_uses = FirstUses()
    assert [name for name, _ in first_uses("<p>A tier with an <b>SSIM</b> of 1</p>")] == ["Tier", "SSIM"]
    assert [name for name, _ in first_uses("<td>SSIM</td><td>AUC</td>")] == ["AUC"]
    assert first_uses("<p>SSIM, AUC, tiers</p>") == []


def test_attributes_and_parts_of_words_are_no_mentions():
    assert FirstUses()('<img alt="SSIM" src="data:p"><p>frontier, supper, server-p</p>') == []


@pytest.mark.parametrize("name", GLOSSARY)
def test_an_explanation_is_a_phrase_and_no_sentence_of_jargon(name):
    says = GLOSSARY[name].says
    assert not says.endswith(".")
    assert 10 < len(says) < 260
    assert re.compile(GLOSSARY[name].pattern)
