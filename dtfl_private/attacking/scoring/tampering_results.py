"""How visible to the clients it is that a malicious server sent them something else."""

from collections.abc import Sequence

import numpy as np

from dtfl_private.attacking.attack_setup import AttackSetup
from dtfl_private.attacking.scoring.repetitions import Repetition
from dtfl_private.leakage.intervals import mean_interval, metric_interval
from dtfl_private.leakage.metrics import Metric
from dtfl_private.leakage.results.result import Result
from dtfl_private.leakage.results.result_heading import Heading
from dtfl_private.leakage.visibility import loss_ratio, weight_jump
from dtfl_private.protocol.messages import Seen

# Auxiliary images on which the local loss is compared.
PROBE = 256


def tampering_results(setup: AttackSetup, repetitions: Sequence[Repetition], heading: Heading) -> list[Result]:
    """Return shares of clients whose guards spoke up, and how far what was sent is from the honest download.

    The distance is that of the weights, and of the local loss on a probe set where clients can compute one.

    Args:
        setup: of the run and its data.
        repetitions: one per seed, all tampered with.
        heading: of the results.
    """
    clients = [repetition.victims.recordings for repetition in repetitions]
    shares = {
        "refused": np.array([[record.refused for record in row] for row in clients], dtype=float),
        "remarked": np.array([[bool(record.remarks) for record in row] for row in clients], dtype=float),
    }
    seeds, count = shares["refused"].shape
    # All clients are sent the same.
    firsts = [row[0].seen for row in clients]
    distances = {"weight-jump": [_jump(setup, sent) for sent in firsts]}
    if setup.opened.local_loss:
        distances["probe-loss-ratio"] = [_loss_ratio(setup, sent) for sent in firsts]
    figures = {name: np.repeat(np.array(values)[:, None], count, axis=1) for name, values in distances.items()}
    found = {
        name: metric_interval(Metric(name=name, label=name, share=True), share_SK, heading.draws(name))
        for name, share_SK in shares.items()
    }
    found |= {name: mean_interval(figure_SK, heading.draws(name)) for name, figure_SK in figures.items()}
    return [heading.result(name, interval, n=count, seeds=seeds) for name, interval in found.items()]


def _jump(setup: AttackSetup, sent: Seen) -> float:
    """Return the relative distance of the weights from the honest ones."""
    return weight_jump(setup.honest(sent.download.tier).weights, sent.download.weights)


def _loss_ratio(setup: AttackSetup, sent: Seen) -> float:
    """Return the ratio of the local losses on auxiliary images under these weights and the honest ones."""
    honest = Seen(download=setup.honest(sent.download.tier), batches=(), update=None)
    probe, losses = setup.split.judging, []
    for seen in (honest, sent):
        program = setup.program(seen, True, 0)
        images, labels = (part.to(program.device) for part in (probe.validation_images, probe.validation_labels))
        losses.append(program.local_loss(program.parameters(), images[:PROBE], labels[:PROBE]).detach())
    return loss_ratio(losses[0], losses[1])
