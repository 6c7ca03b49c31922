"""Small views: handwritten digits of 16x16 pixels behind a client half of the test's choice."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pytest
from torch import Tensor, nn

from dtfl_private.attacking.evidence import AttackedRound, Auxiliary, Evidence, LocalSteps, Network
from dtfl_private.attacking.program import ClientProgram
from dtfl_private.attacking.view import View
from dtfl_private.data.digits import load_digits
from dtfl_private.models.copies import copied
from dtfl_private.models.cutting.staged import StagedModel, snapshot
from dtfl_private.numerics import Numerics
from dtfl_private.protection.base import Defense
from dtfl_private.protection.defense_chain import DefenseChain
from dtfl_private.protocol.adversaries import find_adversary
from dtfl_private.protocol.messages import ModelDownload, Seen, SmashedBatch

BATCH = 16


def preprocess(inputs: Tensor) -> Tensor:
    return inputs / 127.5 - 1


@pytest.fixture(scope="session")
def digits() -> tuple[Tensor, Tensor]:
    """Images (N, 1, 16, 16) in [0, 1] and labels."""
    data = load_digits()
    return data.train_images.float() / 255, data.train_labels


@pytest.fixture(scope="session")
def small_digits() -> tuple[Tensor, Tensor]:
    """The same of 8x8 pixels, with which most attacks take half the time."""
    data = load_digits(size=8)
    return data.train_images.float() / 255, data.train_labels


@pytest.fixture(scope="session")
def make_view(digits: tuple[Tensor, Tensor]) -> Callable[..., tuple[View, Tensor]]:
    """Make a view of clients that each sent a batch of 16 images, and the truth: ``make_view(stem, *defenses)``.

    ``stems`` are client halves with which further clients began; ``kept`` collects what attacks keep; ``server`` is the
    server's half.
    """

    def make(
        stem: nn.Module,
        *defenses: Defense,
        stems: tuple[nn.Module, ...] = (),
        images: tuple[Tensor, Tensor] | None = None,
        auxiliary: int = 400,
        seed: int = 0,
        knows: str = "same",
        kept: dict[str, Mapping[str, Tensor]] | None = None,
        server: nn.Module | None = None,
    ) -> tuple[View, Tensor]:
        pixels, labels = images or digits
        kept = {} if kept is None else kept
        clients = {number: StagedModel([("md1", one)]) for number, one in enumerate((stem, *stems))}

        def program(seen: Seen, adaptive: bool, own: int) -> ClientProgram:
            return ClientProgram(
                modules=copied(clients[seen.download.client]),
                head=nn.Identity(),
                download=seen.download,
                preprocessor=preprocess,  # type: ignore[arg-type] # nothing to be moved to a device
                defense=DefenseChain(defenses if adaptive else ()),
                numerics=Numerics(),
                training=True,
                seed=own,
                records=BATCH,
                classes=10,
            )

        seen = []
        for client, half in clients.items():
            download = ModelDownload(client=client, round=1, tier=1, weights=snapshot(half), head={})
            own = slice(BATCH * client, BATCH * (client + 1))
            sent = program(Seen(download=download, batches=(), update=None), True, 10**6).release(
                pixels[own], labels[own]
            )
            message = SmashedBatch(client=client, round=1, tier=1, batch=0, smashed=sent, labels=labels[own])
            seen.append(Seen(download=download, batches=(message,), update=None))
        first, last = BATCH * len(clients), BATCH * len(clients) + auxiliary
        evidence = Evidence(
            round=AttackedRound(
                seen=seen,
                local_steps=LocalSteps(optimizer="sgd", lr=0.05),
                server_half=None if server is None else partial(copied, server),
            ),
            network=Network(
                program=program,
                input_shape=tuple(pixels.shape[1:]),
                classes=10,
                tier=1,
                cut_shape=tuple(seen[0].batches[0].smashed.shape[1:]),
                defense=DefenseChain(defenses),
            ),
            auxiliary=Auxiliary(
                name="digits",
                images=pixels[first:last],
                labels=labels[first:last],
                validation_images=pixels[last : last + 64],
                validation_labels=labels[last : last + 64],
            ),
        )

        def keep(name: str, make: Callable[[], Any]) -> Any:
            if name not in kept:
                kept[name] = dict(make())
            return kept[name]

        view = View(
            evidence,
            adversary=find_adversary("server-honest-but-curious"),
            knows=knows,  # type: ignore[arg-type] # as users write it
            attack="an attack",
            seed=seed,
            keep=keep,
        )
        return view, pixels[:first]

    return make
