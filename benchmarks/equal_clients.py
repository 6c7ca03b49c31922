"""Measure how often an audit calls clients different whose records were dealt out at random.

Each run has images, weights and a deal of its own; a decoder is trained on auxiliary images and reads those of all
clients, as `audit --by-client` has it. What is counted is how often the permutation test gives p <= 0.05.

    python -m benchmarks.equal_clients [--runs 100] [--seed 1000]
"""

import tempfile
from pathlib import Path

import click
import numpy as np
from scipy.stats import binomtest

from benchmarks.host import host_line
from dtfl_private import AuditConfig, TrainConfig, train
from dtfl_private.attacking.victims.replay import open_run
from dtfl_private.auditing.attack_trainings import attack_training
from dtfl_private.auditing.audit_plan import plan_audit
from dtfl_private.auditing.by_client import by_client
from dtfl_private.auditing.trainings import AttackedTraining
from dtfl_private.runtime.callback import Callback
from dtfl_private.runtime.device import deterministic_kernels, one_thread
from dtfl_private.verdicts.client_comparison import ClientComparison
from dtfl_private.verdicts.findings import NotTested

LEVEL = 0.05


def equal_clients(seed: int, folder: Path) -> ClientComparison:
    """Return how the clients of a run compare, of which none is more exposed than any other."""
    run = TrainConfig(
        dataset="digits:size=8", model="resnet-8", clients=8, rounds=1, max_train_images=256, workers=1, seed=seed
    )
    train(run, out=folder)
    attacks = ("decoder:size=small,steps=60",)
    settings = AuditConfig(tiers=(1,), attacks=attacks, seeds=1, victims=32, aux_images=200, workers=1).settled()
    opened = open_run(folder)
    plan = plan_audit(opened, settings, None, folder / "audit")
    attacked = AttackedTraining(run=opened.folder, undefended=None, folder=folder / "audit")
    found = by_client(plan, attack_training(plan, attacked, Callback()), Callback())
    assert not isinstance(found, NotTested)  # eight clients with more than enough images
    (comparison,) = found
    return comparison


@click.command()
@click.option("--runs", default=100, show_default=True, type=click.IntRange(1))
@click.option("--seed", default=1000, show_default=True, type=click.IntRange(0), help="Of the first run.")
def main(runs: int, seed: int) -> None:
    """Count how often equal clients are called different."""
    print(host_line())
    found = []
    with deterministic_kernels(), one_thread(), tempfile.TemporaryDirectory() as folder:
        for number in range(seed, seed + runs):
            one = equal_clients(number, Path(folder) / str(number))
            found.append(one)
            print(
                f"seed {number}: p {one.p_value:.4f}, more exposed {one.more_exposed}, less {one.less_exposed}",
                flush=True,
            )
    called = sum(one.p_value <= LEVEL for one in found)
    named = sum(bool(one.more_exposed or one.less_exposed) for one in found)
    ends = binomtest(called, runs).proportion_ci()
    median = np.median([one.p_value for one in found])
    print(f"p <= {LEVEL} in {called} of {runs} runs ({ends.low:.1%} to {ends.high:.1%}), median p {median:.2f}")
    print(f"a client named in {named} of them")


if __name__ == "__main__":
    main()
