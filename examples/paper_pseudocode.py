"""DTFL's round as the paper writes it: plain loops, and a full copy of the model for every client.

A readable reference for the trainer (arXiv 2312.05642). It shares the trainer's data, initial weights, order of batches
and tiers, and none of its training code, so that their results can be compared::

    python examples/paper_pseudocode.py

trains digits both ways in float64 and prints how far apart the weights are after each round. The exit status is 1
if that is ever more than 1e-6.
"""

import copy
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dtfl_private import TrainConfig
from dtfl_private.experiments.setup.prepare import prepare
from dtfl_private.protocol.messages import State
from dtfl_private.randomness import stream
from dtfl_private.runtime.callback import Callback
from dtfl_private.runtime.in_process import InProcess
from dtfl_private.training.round import run_round
from dtfl_private.training.worker import WorkerSetup

TOLERANCE = 1e-6

Heads = dict[int, nn.Module]
"""One auxiliary head w_a per tier."""


@dataclass(frozen=True, kw_only=True)
class Client:
    """A participant of a round: its tier m, its batches (x, y) in order, and N_k, the number of its examples."""

    tier: int
    batches: Sequence[tuple[Tensor, Tensor]]
    examples: int


def dtfl_round(model: nn.Sequential, heads: Heads, clients: Sequence[Client], lr: float) -> tuple[nn.Sequential, Heads]:
    """Return the global model md1..mdL and the auxiliary heads after one round."""
    trained = [(client, *train_one(model, heads[client.tier], client, lr)) for client in clients]

    # The new global model is the average of all full models, weighted by N_k.
    model = copy.deepcopy(model)
    model.load_state_dict(average([(full.state_dict(), client.examples) for client, full, _ in trained]))

    # Each head is averaged over the clients that share its tier; where there is none, it stays as it was.
    heads = copy.deepcopy(heads)
    for tier, head in heads.items():
        shared = [(w_a.state_dict(), client.examples) for client, _, w_a in trained if client.tier == tier]
        if shared:
            head.load_state_dict(average(shared))
    return model, heads


def train_one(model: nn.Sequential, head: nn.Module, client: Client, lr: float) -> tuple[nn.Sequential, nn.Module]:
    """Return the full model {w_c, w_s} and the head w_a of one client after its part of the round."""
    full, w_a = copy.deepcopy(model).train(), copy.deepcopy(head).train()
    w_c, w_s = full[: client.tier], full[client.tier :]
    client_adam = torch.optim.Adam([*w_c.parameters(), *w_a.parameters()], lr)
    server_adam = torch.optim.Adam(w_s.parameters(), lr)

    for x, y in client.batches:
        # The client computes z = h(x; w_c), takes a step on its local loss and sends (z, y).
        z = w_c(x)
        step(client_adam, F.cross_entropy(w_a(z), y))
        # The server takes a step on what it received; no gradient ever goes back.
        step(server_adam, F.cross_entropy(w_s(z.detach()), y))
    return full, w_a


def step(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """Take one step down a loss."""
    optimizer.zero_grad()
    torch.autograd.backward(loss)
    optimizer.step()


def average(states: Sequence[tuple[State, int]]) -> State:
    """Return sum_k N_k w_k / sum_k N_k."""
    total = sum(examples for _, examples in states)
    mean = {}
    for name, like in states[0][0].items():
        value = torch.zeros_like(like, dtype=torch.float64)
        for state, examples in states:
            value += examples * state[name]
        # Batch norm counts its batches in whole numbers.
        mean[name] = value / total if like.is_floating_point() else (value / total).round()
    return mean


# What follows compares the two.


@dataclass(frozen=True, kw_only=True)
class Compared:
    """A round trained both ways: each client's tier, and the largest difference of any weight and of any head's."""

    round: int
    tiers: Mapping[int, int]
    model_gap: float
    head_gap: float


def both_ways(config: TrainConfig) -> Iterator[Compared]:
    """Train round after round by the trainer and by plain loops, each going on from its own weights."""
    prepared = prepare(config)
    setup, executor, state = prepared.worker, InProcess(prepared.worker), prepared.initial
    model: nn.Sequential = setup.model
    heads: Heads = dict(setup.heads)
    for number in range(1, config.rounds + 1):
        state, outcome = run_round(prepared.method, state, prepared.settings, executor, Callback())
        tiers = dict(zip(outcome.plan.clients_P.tolist(), outcome.plan.tiers_P.tolist(), strict=True))
        clients = [
            Client(tier=tier, batches=batches(setup, client, number), examples=len(setup.parts[client]))
            for client, tier in tiers.items()
        ]
        model, heads = dtfl_round(model, heads, clients, outcome.lr)
        yield Compared(
            round=number,
            tiers=tiers,
            model_gap=gap((model.state_dict(), state.weights.model)),
            head_gap=gap(*((head.state_dict(), state.weights.heads[tier]) for tier, head in heads.items())),
        )


def batches(setup: WorkerSetup, client: int, round_number: int) -> list[tuple[Tensor, Tensor]]:
    """Return the batches (x, y) of a client's round, in the trainer's order: fresh in each epoch."""
    order = stream(setup.seed, "order", client, round_number)
    dealt = []
    for _ in range(setup.local_epochs):
        shuffled = torch.from_numpy(order.permutation(setup.parts[client]))
        for index in torch.split(shuffled, setup.batch_size):
            x = setup.numerics.place_images(setup.normaliser(setup.train_images[index]))
            dealt.append((x, setup.train_labels[index]))
    return dealt


def gap(*pairs: tuple[State, State]) -> float:
    """Return the largest absolute difference between states of the same names; NaN if there is any."""
    gaps = [(ours[name] - tensor).abs().max().double() for ours, theirs in pairs for name, tensor in theirs.items()]
    return float(torch.stack(gaps).max())


def main() -> int:
    """Print the comparison of a few rounds and return the exit status."""
    config = TrainConfig(
        dataset="digits:size=8",
        max_train_images=200,
        clients=5,
        partition="dirichlet:1",
        rounds=3,
        scheduler="random",
        precision="fp64",
        device="cpu",
    )
    equal = True
    for row in both_ways(config):
        tiers = " ".join(f"{client}:{tier}" for client, tier in row.tiers.items())
        print(f"round {row.round}  model {row.model_gap:.1e}  heads {row.head_gap:.1e}  client:tier {tiers}")
        equal = equal and row.model_gap <= TOLERANCE and row.head_gap <= TOLERANCE
    print(f"the weights are {'equal' if equal else 'NOT equal'} to {TOLERANCE:g}")
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
