import pytest

from dtfl_private.experiments.comparing.compare import compare


@pytest.fixture
def comparison(write_run, tmp_path):
    """Three runs of DTFL, all of which reach 0.7; of two of FedAvg only one does."""
    paths = [write_run(tmp_path / f"dtfl-{seed}", [0.5, 0.7], seed=seed) for seed in (0, 1, 2)]
    paths += [
        write_run(tmp_path / f"avg-{seed}", [0.5, 0.6 + seed / 10], seed=seed, method="fedavg", round_s=80.0)
        for seed in (0, 1)
    ]
    return compare(paths, target=0.7)
