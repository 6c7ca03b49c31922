"""Bring your own network: any ``torch.nn.Module``, cut where you say or automatically.

python examples/own_network.py
dtfl-private train --model examples.own_network:automatic --clients 4 --lr 0.01
dtfl-private train --model examples.own_network:by_hand:width=12 --clients 4 --lr 0.01
"""

from itertools import pairwise

from torch import nn

from dtfl_private import StagedModel, TrainConfig, profile, staged, train


def network(input_shape: tuple[int, ...], classes: int, width: int) -> nn.Sequential:
    """Return a network that knows nothing of stages."""

    def block(inputs: int, outputs: int) -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))

    widths = (input_shape[0], width, 2 * width, 4 * width)
    blocks = [block(inputs, outputs) for inputs, outputs in pairwise(widths)]
    return nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4 * width, classes))


def automatic(input_shape: tuple[int, ...], classes: int, width: int = 8) -> nn.Module:
    """Return the network as it is: the trainer cuts it."""
    return network(input_shape, classes, width)


def by_hand(input_shape: tuple[int, ...], classes: int, width: int = 8) -> StagedModel:
    """Return it cut behind two of its modules, by their names: three stages, two tiers."""
    return staged(network(input_shape, classes, width), cuts=["0", "1"])


def main(out: str | None = None) -> float:
    """Print where the network was cut, train it for a few rounds, and return the accuracy."""
    for row in profile(by_hand((1, 16, 16), 10), input_shape=(1, 16, 16), classes=10).rows:
        print(f"tier {row.tier}: cut {row.cut_shape}, {row.client_forward_macs:,} MACs on the client")
    config = TrainConfig(max_train_images=400, clients=4, rounds=8, batch_size=16, lr=0.01)
    run = train(config, out=out, model=network((1, 16, 16), 10, width=8))
    print(f"test accuracy {run.summary['final_accuracy']:.3f}, run folder {run.folder.path}")
    return float(run.summary["final_accuracy"])


if __name__ == "__main__":
    main()
