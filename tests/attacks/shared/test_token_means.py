"""Where networks that read tokens start: each token's mean activations, measured by how those of one token differ."""

import torch

from dtfl_private.attacks.shared.releaser import Releaser
from dtfl_private.attacks.shared.token_means import token_means
from dtfl_private.attacks.shared.token_network import TokenNetwork, TokenShapes
from dtfl_private.attacks.shared.token_training import Texts
from dtfl_private.plugins.registry import create
from tests.attacks.text_views import CLASSES, LENGTH, PADDING, TOKENS, VOCABULARY, WIDTH, client_half, text_view

NOISE = create("defense", "gaussian-noise:sd=0.5")


def texts_of(view) -> Texts:
    return Texts(
        own=view.auxiliary,
        vocabulary=VOCABULARY,
        releaser=Releaser(view, view.seen, adaptive=True),
        chance=torch.Generator().manual_seed(0),
    )


def test_behind_an_embedding_with_noise_means_are_its_rows_and_what_whitens_is_the_noise():
    half = client_half(0, embedding=0.5)
    view, _ = text_view([half], NOISE, auxiliary=160)
    places = half[0][0].places.weight.detach()
    means, whitening = token_means(texts_of(view), places, torch.ones(WIDTH))
    torch.testing.assert_close(whitening @ whitening.T, torch.eye(WIDTH) / 0.5**2, rtol=0.25, atol=0.6)
    rows = half[0][0].tokens.weight.detach() @ whitening.T
    # Of at least eight draws each: means are off by 0.35 at most, all together.
    assert float((means - rows).square().mean().sqrt()) < 0.36
    assert float((means - rows).mean().abs()) < 0.05


def test_a_network_starts_with_the_log_probabilities_of_normal_activations():
    network = TokenNetwork(
        TokenShapes(length=LENGTH, channels=WIDTH, tokens=TOKENS, classes=CLASSES, padding=PADDING), "small"
    )
    chance = torch.Generator().manual_seed(0)
    means, smashed = torch.randn(TOKENS, WIDTH, generator=chance), torch.randn(3, LENGTH, WIDTH, generator=chance)
    whitening, shares = torch.diag(torch.rand(WIDTH, generator=chance) + 0.5), torch.rand(TOKENS, generator=chance)
    network.start_from(means, whitening, shares / shares.sum())
    real = torch.ones(3, LENGTH, dtype=torch.bool)
    found = network(smashed, torch.zeros(3, dtype=torch.int64), real).log_softmax(dim=-1)
    apart = (smashed @ whitening)[:, :, None] - means
    expected = (-apart.square().sum(dim=-1) / 2 + (shares / shares.sum() + 1 / (10 * TOKENS)).log()).log_softmax(dim=-1)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
