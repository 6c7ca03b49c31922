"""Search among the images that a decoder can make, by what it is given: the decoder as a learned prior."""

from collections.abc import Callable

import torch
from torch import Tensor

from dtfl_private.attacking.program import ClientProgram
from dtfl_private.attacks.shared.decoders_by_download import TrainedDecoder
from dtfl_private.attacks.shared.learning_rate import half_cosine
from dtfl_private.attacks.shared.similarity import total_variation
from dtfl_private.eager_optimizers import EagerAdam
from dtfl_private.protection.release_reading import misfit

# First step, in standard deviations of each channel of the activations; falls as a half cosine.
STEP = 0.05
BETAS = (0.9, 0.99)
SMOOTHNESS = 1e-2


def match_latent(
    program: ClientProgram,
    smashed: Tensor,
    labels: Tensor,
    decoder: TrainedDecoder,
    steps: int,
    tick: Callable[[], None] = lambda: None,
) -> Tensor:
    """Return images (B, C, H, W) that a decoder makes of activations near those seen, and that explain these best.

    Generative priors in inversion search likewise (Jeon et al. 2021, NeurIPS, section 3): here from what was seen.

    Args:
        program: of the client, `sending` the batch.
        smashed: as seen (B, *cut shape).
        labels: as seen (B,).
        decoder: of the client's round.
        steps: of Adam.
        tick: called after each step.
    """
    reading = program.read(smashed)
    moved = torch.zeros_like(smashed, dtype=torch.float32, device=program.device).requires_grad_()
    optimizer = EagerAdam([moved], lr=STEP, betas=BETAS)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = STEP * half_cosine(step, steps)
        images = decoder.decode_moved(smashed, labels, moved)
        loss = misfit(reading, program.expected(images)) + SMOOTHNESS * total_variation(images)
        (moved.grad,) = torch.autograd.grad(loss.sum(), moved)
        optimizer.step()
        tick()
    with torch.no_grad():
        return decoder.decode_moved(smashed, labels, moved)
