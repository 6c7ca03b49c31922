"""The table that tokens are looked up in is found by what it is asked for."""

import torch
from torch import nn

from dtfl_private.attacks.shared.embedding_table import looked_up, token_table
from dtfl_private.models.cutting.staged import StagedModel
from tests.attacks.text_views import LENGTH, PADDING, TOKENS, client_half, text_view


class TwoTables(nn.Module):
    """Places are looked up in a table of more rows than there are tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.places, self.tokens = nn.Embedding(99, 4), nn.Embedding(TOKENS, 4)

    def forward(self, tokens):
        where = torch.arange(tokens.shape[1])[None].expand_as(tokens)
        real = tokens != PADDING
        return (self.places(where) + self.tokens(tokens * real)) * real[..., None]


def test_it_is_told_from_tables_of_anything_else():
    half = TwoTables()
    program = program_of(half)
    found = token_table(program, LENGTH, TOKENS, PADDING)
    assert found is not None
    assert torch.equal(found.weight, half.tokens.weight)


def test_where_there_is_none_there_is_none():
    assert token_table(program_of(OneHot()), LENGTH, TOKENS, PADDING) is None


def test_vectors_in_the_tokens_place_make_what_the_tokens_make():
    view, tokens = text_view([client_half()])
    program = view.program(view.seen[0], adaptive=True)
    table = token_table(program, LENGTH, TOKENS, PADDING)
    assert table is not None
    rows = table.weight.detach()[tokens.clamp(max=TOKENS - 1)].requires_grad_()
    anything = tokens.masked_fill(tokens != PADDING, 0)
    with looked_up(table, rows):
        made = program.expected(anything)
    torch.testing.assert_close(made, program.expected(tokens))
    (gradient,) = torch.autograd.grad(made.square().sum(), rows)
    assert bool((gradient != 0).any(dim=-1)[tokens != PADDING].all())


class OneHot(nn.Module):
    """Looks nothing up."""

    def forward(self, tokens):
        return nn.functional.one_hot(tokens, TOKENS + 1)[..., :TOKENS].float()


def program_of(half):
    view, _ = text_view([StagedModel([("md1", half)])])
    return view.program(view.seen[0], adaptive=True)
