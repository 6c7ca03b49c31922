"""How well texts explain a release: with known noise as its own likelihood says."""

import torch

from dtfl_private.attacks.shared.release_fit import ReleaseFit, expected_of, without_chance
from dtfl_private.attacks.shared.releaser import ReleasedImages, Releaser
from dtfl_private.models.cutting.staged import StagedModel
from dtfl_private.plugins.registry import create
from dtfl_private.protection.release_reading import log_likelihood
from tests.attacks.text_views import BATCH, client_half, text_view, texts


def test_under_gaussian_noise_what_is_learnt_is_nearly_the_noise_s_own_likelihood():
    view, truth = text_view([client_half(embedding=0.5)], create("defense", "gaussian-noise:sd=0.5"), auxiliary=160)
    seen = view.seen[0]
    program = without_chance(view.program(seen, adaptive=True))
    released = Releaser(view, [seen], adaptive=True).release(*texts(160, seed=1), "residuals")
    parts = zip(*(torch.split(part, BATCH) for part in released), strict=True)
    fit = ReleaseFit.learnt(program, [ReleasedImages(*one) for one in parts])
    reading = program.read(seen.batches[0].smashed)
    others = texts(BATCH, seed=3)[0].where(truth != truth.max(), truth)
    differences = []
    for misfits in (fit.misfits, ReleaseFit(whitening=fit.whitening, exact=True).misfits):
        differences.append(
            misfits(reading, expected_of(program, others)) - misfits(reading, expected_of(program, truth))
        )
    assert float(differences[1].mean()) > 5
    torch.testing.assert_close(differences[0], differences[1], rtol=0.15, atol=1.0)
    own = -log_likelihood(reading, expected_of(program, truth))
    torch.testing.assert_close(
        ReleaseFit(whitening=fit.whitening, exact=True).misfits(reading, expected_of(program, truth)), own
    )


def test_without_chance_a_client_half_with_dropout_makes_the_same_twice():
    view, truth = text_view([client_half(dropout=0.5)])
    program = view.program(view.seen[0], adaptive=True)
    assert not torch.equal(expected_of(program, truth), expected_of(program, truth))
    without_chance(program)
    assert torch.equal(expected_of(program, truth), expected_of(program, truth))


def test_channels_that_chance_disturbs_count_less():
    class Noisy(torch.nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, tokens):
            made = self.inner(tokens)
            noise = torch.randn_like(made[..., :1]) * 10 * self.training * (made[..., :1] != 0)
            return torch.cat([made[..., :1] + noise, made[..., 1:]], dim=-1)

    view, truth = text_view([StagedModel([("md1", Noisy(client_half(embedding=0.5)))])])
    program = without_chance(view.program(view.seen[0], adaptive=True))
    released = Releaser(view, view.seen, adaptive=True).release(*texts(BATCH, seed=1), "residuals")
    fit = ReleaseFit.learnt(program, [released])
    reading, right = program.read(view.seen[0].batches[0].smashed), expected_of(program, truth)
    moved = [right.clone(), right.clone()]
    moved[0][..., 0] += 1
    moved[1][..., 1] += 1
    noisy, quiet = (fit.misfits(reading, one) - fit.misfits(reading, right) for one in moved)
    assert float(noisy.abs().max()) < 20
    assert float(quiet.min()) > 1000
