import pytest
import torch

from dtfl_private.leakage.results.result_heading import Heading
from dtfl_private.leakage.results.token_results import token_results, trivial_texts
from dtfl_private.leakage.token_baselines import KnownTexts
from dtfl_private.protocol.vocabulary import Vocabulary

PAD = 4
HEADING = Heading(tier=1, cut=(3, 2), source="reads", adaptive=True, adversary="server-honest-but-curious", seed=0)
TRUTH = torch.tensor([[1, 2, 3], [1, 3, PAD]] * 10)
KNOWN = KnownTexts(
    sequences=torch.tensor([[1, 2, 2], [1, 2, PAD], [0, 2, PAD]]),
    labels=torch.tensor([0, 0, 1]),
    victim_labels=torch.tensor([0, 1] * 10),
    truth=TRUTH,
    vocabulary=Vocabulary(size=4, padding=PAD),
)


def test_each_score_stands_beside_the_best_trivial_text_with_its_advantage():
    results = {r.metric: r for r in token_results([TRUTH], KNOWN, TRUTH, PAD, HEADING).results}
    assert list(results) == ["token-accuracy", "rouge-l", "exact-sequences", "identifiability"]
    own = results["token-accuracy"]
    # By place and class: 1 2 2 for the first text (two of three right), 0 2 2 for the second (none of two); the chain
    # of bigrams has 1 2 2 for both (two of three, one of two).
    assert (own.value, own.baseline_name) == (1.0, "n-gram")
    assert own.baseline == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert own.advantage == pytest.approx(1 - own.baseline)
    # As sure as so many tosses of a coin may be: victims differ in two ways only.
    assert own.p_value == pytest.approx(0.5**20)
    assert (own.n, own.seeds) == (20, 1)
    assert results["exact-sequences"].baseline == 0


def test_equal_repetitions_count_once():
    wrong = TRUTH.clone()
    wrong[:, 0] = 0
    several = token_results([TRUTH, TRUTH, wrong], KNOWN, TRUTH, PAD, HEADING)
    assert {r.seeds for r in several.results} == {2}
    assert several.scores["token-accuracy"].shape == (3, 20)


def test_without_texts_of_its_own_one_token_is_guessed_everywhere():
    assert trivial_texts(None, TRUTH)["one-token"].tolist() == torch.zeros_like(TRUTH).tolist()
    results = token_results([TRUTH], None, TRUTH, PAD, HEADING).results
    assert {r.baseline_name for r in results} == {"one-token"}
