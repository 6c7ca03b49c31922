"""Infer true labels without data of one's own: group the smashed data, and let protected labels vote in each."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from dtfl_private.attacking.base import ANY_INPUTS, AttackFacts, LabelInference, Target, name_of
from dtfl_private.attacking.view import View
from dtfl_private.attacks.label_inference import require_protected_labels
from dtfl_private.attacks.shared.auxiliary_release import label_channel


@dataclass(frozen=True, kw_only=True)
class LabelClustering(LabelInference):
    """Cluster the victims' smashed data by k-means, and combine each cluster's mix of labels with the label sent.

    The mix of true labels in a cluster is what explains the protected labels in it best: expectation maximisation
    through the defense's own sampler, P(y | cluster). Then P(y | cluster, y') is proportional to P(y | cluster)
    P(y' | y). For many victims; it needs no auxiliary data. New; the clustering of Liu and Lyu 2022 (Clustering label
    inference attack against practical split learning, 2203.05222) with several guesses at a group's label for one.

    Attributes:
        clusters: per class.
        components: principal components of the smashed data that are clustered, at most.
    """

    facts: ClassVar[AttackFacts] = AttackFacts(
        needs=frozenset({"architecture", "client-weights", "smashed", "labels"}),
        recipe="k-means on the smashed data; protected labels vote in each cluster",
        source="after Liu and Lyu 2022, 2203.05222",
        inputs=ANY_INPUTS,
    )

    clusters: Annotated[int, Field(ge=1)] = 1
    components: Annotated[int, Field(ge=1)] = 32

    def check(self, target: Target) -> None:
        """Refuse labels that are sent in clear."""
        super().check(target)
        require_protected_labels(target, name_of(self))

    def infer(self, view: View) -> Tensor:
        """Return the likeliest label of each victim."""
        batches = [batch for seen in view.seen for batch in seen.batches]
        smashed = torch.cat([batch.smashed.flatten(1) for batch in batches]).double().cpu()
        sent = torch.cat([batch.labels for batch in batches]).cpu()
        channel = label_channel(view, view.seen[0], adaptive=self.adaptive)
        groups = self._groups(smashed, view)
        guess = torch.empty_like(sent)
        for group in range(int(groups.max()) + 1):
            own = groups == group
            mix = mix_of_labels(sent[own], channel)
            guess[own] = (mix[:, None] * channel)[:, sent[own]].argmax(dim=0)
            view.progress(group + 1, int(groups.max()) + 1)
        return guess

    def _groups(self, smashed: Tensor, view: View) -> Tensor:
        """Return the cluster of each record (N,), int64."""
        from sklearn.cluster import KMeans  # scikit-learn takes a while to load
        from sklearn.decomposition import PCA

        count = len(smashed)
        seed = int(torch.randint(2**31, (1,), generator=view.chance("clusters")))
        reduced = PCA(min(self.components, count, smashed.shape[1]), random_state=seed).fit_transform(smashed.numpy())
        clusters = min(self.clusters * view.classes, count)
        found = KMeans(clusters, n_init=10, random_state=seed).fit_predict(reduced)
        return torch.from_numpy(np.asarray(found, dtype=np.int64))


def mix_of_labels(sent: Tensor, channel: Tensor, rounds: int = 100) -> Tensor:
    """Return the shares (classes,) of true labels that make the sent ones (N,) likeliest, by EM from equal shares.

    Args:
        sent: protected labels.
        channel: probability of each sent label (column) given the true one (row).
        rounds: of the EM.
    """
    mix = torch.full((len(channel),), 1 / len(channel), dtype=torch.float64)
    for _ in range(rounds):
        joint = mix[:, None] * channel[:, sent]
        mix = (joint / joint.sum(dim=0)).mean(dim=1)
    return mix
