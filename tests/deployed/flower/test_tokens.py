"""One-time tokens: one client, one use, a short life, and comparisons that tell nothing."""

import hmac
from types import SimpleNamespace

import pytest

from dtfl_private.deployed.flower import tokens as tokens_module
from dtfl_private.deployed.flower.tokens import Tokens
from dtfl_private.deployed.sessions.admission import TOKEN_KEY


def shown(*metadata):
    return SimpleNamespace(invocation_metadata=lambda: metadata)


def test_a_token_stands_for_its_client_once():
    tokens = Tokens()
    first, second = tokens.issue(4), tokens.issue(7)
    assert tokens.admit(shown(("user-agent", "grpc"), (TOKEN_KEY, second))).client == 7
    assert tokens.take(first) == 4
    for used in (first, second):
        with pytest.raises(ValueError, match="none of this run, or was used"):
            tokens.take(used)


def test_tokens_are_long_and_never_the_same():
    tokens = Tokens()
    made = {tokens.issue(0) for _ in range(50)}
    assert len(made) == 50
    assert all(len(token) >= 43 for token in made)  # 32 bytes in base 64


def test_a_newer_token_of_a_client_takes_the_place_of_the_older_one():
    tokens = Tokens()
    older, newer = tokens.issue(1), tokens.issue(1)
    with pytest.raises(ValueError, match="none of this run"):
        tokens.take(older)
    assert tokens.take(newer) == 1


def test_a_token_grows_old_and_is_not_good_for_a_second_try_then():
    now_s = [0.0]
    tokens = Tokens(lifetime_s=60, clock=lambda: now_s[0])
    token, other = tokens.issue(2), tokens.issue(3)
    now_s[0] = 60.0
    assert tokens.take(other) == 3
    now_s[0] = 60.5
    with pytest.raises(ValueError, match="of client 2 was not used within 60 s"):
        tokens.take(token)
    now_s[0] = 0.0
    with pytest.raises(ValueError, match="none of this run"):
        tokens.take(token)


@pytest.mark.parametrize(
    ("metadata", "why"),
    [
        ((), "shows no token"),
        ((("other", "x"),), "shows no token"),
        (((TOKEN_KEY, "a"), (TOKEN_KEY, "b")), "shows no token"),
        (((TOKEN_KEY, b"bytes"),), "shows no token"),
        (((TOKEN_KEY, ""),), "none of this run"),
        (((TOKEN_KEY, "\udc80"),), "none of this run"),
        (((TOKEN_KEY, "x" * 100_000),), "none of this run"),
    ],
)
def test_whoever_shows_anything_else_is_no_client_and_uses_nothing_up(metadata, why):
    tokens = Tokens()
    token = tokens.issue(0)
    with pytest.raises(ValueError, match=why) as refused:
        tokens.admit(shown(*metadata))
    assert "x" * 20 not in str(refused.value)
    assert tokens.take(token) == 0


def test_every_token_is_compared_in_constant_time_whichever_is_shown(monkeypatch):
    compared = []
    monkeypatch.setattr(
        tokens_module.hmac,
        "compare_digest",
        lambda one, other, inner=hmac.compare_digest: compared.append((len(one), len(other))) or inner(one, other),
    )
    tokens = Tokens()
    made = [tokens.issue(client) for client in range(5)]
    tokens.take(made[0])
    assert compared == [(32, 32)] * 5  # digests of one length, and no end at the first that fits
