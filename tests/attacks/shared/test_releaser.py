"""An adversary's own releases, against what the client's program is expected to send."""

from dataclasses import replace

import pytest
import torch
from reassuring_defenses import QuantumSeal, RollingSeal
from torch import nn

from dtfl_private.attacks.shared.releaser import ReleasedImages, Releaser
from dtfl_private.defenses.patch_shuffle import PatchShuffle


@pytest.mark.parametrize("defense", [QuantumSeal(), RollingSeal()])
def test_labels_and_numbers_of_batches_are_as_the_clients_and_what_goes_by_them_is_expected(defense, make_view):
    view, _ = make_view(nn.Identity(), defense)
    (seen,), known = view.seen, view.auxiliary
    (first,) = seen.batches
    group = [replace(seen, batches=(first, replace(first, batch=5)))]
    released = Releaser(view, group, True).release(known.images[:48], known.labels[:48], "test")
    assert released.batches.tolist() == [0] * 16 + [5] * 16 + [0] * 16
    program = view.program(seen, adaptive=True)
    for batch in (ReleasedImages(*parts) for parts in zip(*(torch.split(part, 16) for part in released), strict=True)):
        torch.testing.assert_close(batch.sent_by(program).expected(batch.images), batch.smashed)


def test_what_is_expected_behind_a_rewriting_needs_to_be_told_of_the_batch(make_view):
    view, truth = make_view(nn.Identity(), PatchShuffle(patch=4))
    with pytest.raises(ValueError, match=r"sending\(labels, batch\)"):
        view.program(view.seen[0], adaptive=True).expected(truth)
