"""A kernel classifier from smashed data to labels: better than a network where auxiliary images are few."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dtfl_private.attacks.shared.property_classifier import Examples

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

# Principal components, widths of the kernel relative to the spread of the data, and strengths that are tried.
COMPONENTS = (30, 60)
WIDTHS = (0.3, 1.0)
STRENGTHS = (10.0, 100.0)
# Points that the kernel is taken to, at most.
LANDMARKS = 400
# Of a label that no example has.
NEVER = -20.0

Predict = Callable[[NDArray[np.float64]], NDArray[np.float64]]


class KernelClassifier:
    """Logistic regression on a Gaussian kernel of standardised principal components of activations.

    How many components, how wide a kernel and how strong a penalty is best is chosen by the validation examples, on
    which ``loss`` is the mean cross-entropy. The kernel's features are those of Nystroem (Williams and Seeger 2001,
    NeurIPS).

    Args:
        train: examples to learn from.
        validation: examples to choose by.
        values: number of labels.
        seed: of the components and landmarks.
    """

    def __init__(self, train: Examples, validation: Examples, *, values: int, seed: int) -> None:
        rows = train.smashed.flatten(1).double()
        self._mean, self._scale = rows.mean(dim=0), rows.std(dim=0).clamp(min=1e-6)
        self._values = values
        self.loss, self._predict = float("inf"), _unknown(values)
        held, checked = validation.values.cpu(), self._rows(validation.smashed)
        for predict in self._fitted(train, seed % 2**32):
            said = torch.from_numpy(predict(checked))
            loss = -float(said.gather(1, held[:, None]).mean())
            if loss < self.loss:
                self.loss, self._predict = loss, predict

    def _rows(self, smashed: Tensor) -> NDArray[np.float64]:
        rows = (smashed.flatten(1).double() - self._mean) / self._scale
        return np.asarray(rows.cpu().numpy(), dtype=np.float64)

    def _fitted(self, train: Examples, seed: int) -> Iterator[Predict]:
        """Yield what gives the log probabilities (N, values) of rows, for each that is tried."""
        from sklearn.decomposition import PCA  # scikit-learn takes a while to load
        from sklearn.kernel_approximation import Nystroem
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline

        rows, values = self._rows(train.smashed), train.values.cpu().numpy()
        for components in COMPONENTS:
            reduce = PCA(min(components, *rows.shape), random_state=seed).fit(rows)
            reduced = reduce.transform(rows)
            spread = max(float(reduced.var(axis=0).sum()), 1e-12)
            for width in WIDTHS:
                kernel = Nystroem(gamma=width / spread, n_components=min(LANDMARKS, len(rows)), random_state=seed).fit(
                    reduced
                )
                features = kernel.transform(reduced)
                for strength in STRENGTHS:
                    classifier = LogisticRegression(C=strength, max_iter=500).fit(features, values)
                    yield partial(self._said, make_pipeline(reduce, kernel, classifier))

    def _said(self, fitted: "Pipeline", rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the log probabilities (N, values) of rows; of labels without an example `NEVER`."""
        found = np.full((len(rows), self._values), NEVER)
        found[:, fitted.classes_] = fitted.predict_log_proba(rows)
        return found

    def log_probabilities(self, smashed: Tensor, sent_labels: Tensor) -> Tensor:
        """Return the logarithm of each label's probability (N, values), float64 on the CPU."""
        del sent_labels  # what these say is weighed apart
        return torch.from_numpy(self._predict(self._rows(smashed)))


def _unknown(values: int) -> Predict:
    return lambda given: np.full((len(given), values), -np.log(values))
