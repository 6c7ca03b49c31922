"""What clients would send of auxiliary images, together with what the adversary knows of these."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from dtfl_private.attacking.program import batches_of
from dtfl_private.attacking.view import View
from dtfl_private.attacks.shared.releaser import SECRETS, batch_numbers, batch_size, by_download
from dtfl_private.protocol.messages import Seen
from dtfl_private.randomness import isolated

# Programs with draws of their own, and labels of each class sent by each, to estimate how labels are changed.
LABEL_PROGRAMS = 16
LABELS_PER_PROGRAM = 250


class AuxiliaryRelease(NamedTuple):
    """Activations (N, *cut shape) and labels (N,) as sent, and places (N,) of their images in the auxiliary data."""

    smashed: Tensor
    sent_labels: Tensor
    places: Tensor


def same_weights(view: View) -> list[list[Seen]]:
    """Return the rounds of ``view.seen`` in groups of clients that began with the same weights."""
    return list(by_download(view.seen).values())


def release_auxiliary(
    view: View, group: Sequence[Seen], images: Tensor, labels: Tensor, *path: str | int, adaptive: bool
) -> AuxiliaryRelease:
    """Return what these clients would send of images (N, C, H, W) with labels (N,), in batches of the victims' size.

    Programs with different lasting secrets take turns. What makes no whole batch is left out.
    """
    size, numbers, chance = batch_size(group), batch_numbers(group), view.chance("release", *path)
    with isolated(view.seed, "release", view.tier, *path):
        programs = [
            view.program(group[turn % len(group)], adaptive=adaptive, draw="/".join(map(str, (*path, turn))))
            for turn in range(SECRETS)
        ]
        sent, places = [], list(batches_of(len(images), size, chance))
        for turn, batch in enumerate(places):
            program = programs[turn % SECRETS]
            own, own_labels = images[batch].to(program.device), labels[batch].to(program.device)
            sent_labels = program.sent_labels(own_labels)
            sent.append((program.release(own, sent_labels, numbers[turn % len(numbers)]), sent_labels))
    smashed, all_labels = (torch.cat(parts) for parts in zip(*sent, strict=True))
    return AuxiliaryRelease(smashed=smashed, sent_labels=all_labels, places=torch.cat(places))


def label_channel(view: View, seen: Seen, *, adaptive: bool, sent: bool = True) -> Tensor:
    """Return the probability (classes, classes), float64, of each sent label (column) given the true one (row).

    With ``sent`` false of each label that is trained on, whether it is sent or not.

    Estimated from the defenses' own sampler; never zero, as a draw that was not seen may still happen.
    """
    counts = torch.full((view.classes, view.classes), 1 / view.classes, dtype=torch.float64)
    labels = torch.arange(view.classes).repeat(LABELS_PER_PROGRAM)
    for turn in range(LABEL_PROGRAMS):
        program = view.program(seen, adaptive=adaptive, draw=f"labels/{turn}")
        drawn = (program.sent_labels if sent else program.protected_labels)(labels).cpu()
        counts += torch.bincount(labels * view.classes + drawn, minlength=view.classes**2).view_as(counts)
    return counts / counts.sum(dim=1, keepdim=True)
