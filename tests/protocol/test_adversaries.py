import pytest

from dtfl_private.errors import InputError
from dtfl_private.protocol.adversaries import ADVERSARIES, MEANING, find_adversary, require


def test_what_a_curious_server_sees_a_malicious_one_sees_too():
    assert ADVERSARIES["server-honest-but-curious"].has < ADVERSARIES["server-malicious"].has


def test_only_the_server_itself_sees_single_clients():
    for adversary in ADVERSARIES.values():
        whole = adversary.name in ("server-honest-but-curious", "server-malicious")
        assert ("smashed" in adversary.has) == whole == ("updates" in adversary.has)


def test_every_capability_has_a_meaning():
    for adversary in ADVERSARIES.values():
        assert adversary.knowing("same") <= MEANING.keys()


def test_an_attack_is_refused_with_what_is_missing_and_who_has_it():
    needs = frozenset({"smashed", "architecture"})
    require(needs, ADVERSARIES["server-honest-but-curious"], "architecture", "some-attack")
    with pytest.raises(InputError, match=r"some-attack needs the smashed data of each client \(smashed\)") as error:
        require(needs, ADVERSARIES["model-recipient"], "same", "some-attack")
    assert "server-honest-but-curious or server-malicious" in str(error.value)


@pytest.mark.parametrize(
    ("kind", "needs", "remedy"), [("architecture", "auxiliary-data", "--aux same"), ("none", "architecture", "--aux")]
)
def test_missing_knowledge_is_named_with_the_remedy(kind, needs, remedy):
    with pytest.raises(InputError, match=remedy):
        require(frozenset({needs}), ADVERSARIES["server-malicious"], kind, "some-attack")


def test_an_unknown_adversary_is_answered_with_the_nearest():
    with pytest.raises(InputError, match="did you mean 'server-malicious'"):
        find_adversary("server-malicous")
