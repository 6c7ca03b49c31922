"""The measures there are, by name."""

from collections.abc import Mapping

from dtfl_private.leakage.measures.base import Measure
from dtfl_private.leakage.measures.distance_correlation import DistanceCorrelation
from dtfl_private.leakage.measures.effective_rank import EffectiveRank
from dtfl_private.leakage.measures.empirical_epsilon import EmpiricalEpsilon
from dtfl_private.leakage.measures.fisher_information import FisherInformation
from dtfl_private.leakage.measures.linear_cka import LinearCka
from dtfl_private.leakage.measures.mutual_information import MutualInformation

MEASURES: Mapping[str, Measure] = {
    "distance-correlation": DistanceCorrelation(),
    "linear-cka": LinearCka(),
    "fisher-information": FisherInformation(),
    "mutual-information": MutualInformation(),
    "empirical-epsilon": EmpiricalEpsilon(),
    "effective-rank": EffectiveRank(),
}
