"""Where a client half looks tokens up, found by watching it, so that vectors can be put in the tokens' place."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from dtfl_private.attacking.program import ClientProgram

# So many kinds of tokens are looked up to see which table it is.
PROBES = 64


def token_table(program: ClientProgram, length: int, tokens: int, padding: int | None) -> nn.Embedding | None:
    """Return the module of a client half that looks tokens up; None where there is no `torch.nn.Embedding` for it.

    Args:
        program: of a client.
        length: T, of sequences.
        tokens: V, kinds of tokens.
        padding: the number that fills up.
    """
    chance = torch.Generator().manual_seed(0)  # any tokens that are no row of places
    probe = torch.randint(min(tokens, PROBES), (2, length), generator=chance)
    if padding is not None:
        probe[probe == padding] = int(padding == 0)
    probe = probe.to(program.device)
    found: list[nn.Embedding] = []

    def watch(module: nn.Module, inputs: tuple[Any, ...], _: Any) -> None:
        assert isinstance(module, nn.Embedding)
        if module.num_embeddings >= tokens and torch.equal(torch.as_tensor(inputs[0]), probe):
            found.append(module)

    handles = [one.register_forward_hook(watch) for one in program.modules.modules() if isinstance(one, nn.Embedding)]
    try:
        with torch.no_grad():
            program.activations(probe, defended=False)
    finally:
        for handle in handles:
            handle.remove()
    return found[0] if found else None


@contextmanager
def looked_up(table: nn.Embedding, vectors: Tensor) -> Iterator[None]:
    """Let a table return these vectors (B, T, E), whatever tokens it is asked for; differentiable in them."""
    handle = table.register_forward_hook(lambda *_: vectors)
    try:
        yield
    finally:
        handle.remove()
