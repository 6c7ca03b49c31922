"""dtfl-private: tiered split federated learning, with its leakage in view.

Everything the commands do is a function here: `train`, `profile`, `plan`.
"""

from dtfl_private.commands.plan import Plan, plan
from dtfl_private.commands.profile import profile
from dtfl_private.commands.train import Run, train
from dtfl_private.config import TrainConfig
from dtfl_private.contracts import Partition, Scheduler, TierChoice
from dtfl_private.data.dataset import ImageDataset, TokenDataset
from dtfl_private.defense import ClientRound, Defense, DefenseFacts, LocalStep
from dtfl_private.errors import DtflError, InputError, RunError
from dtfl_private.messages import ModelDownload, SmashedBatch, Transcript, WeightUpdate
from dtfl_private.models.staged import StagedModel, join, split
from dtfl_private.models.tracing import staged
from dtfl_private.tiers.table import TierCost, TierTable

__all__ = [
    "ClientRound",
    "Defense",
    "DefenseFacts",
    "DtflError",
    "ImageDataset",
    "InputError",
    "LocalStep",
    "ModelDownload",
    "Partition",
    "Plan",
    "Run",
    "RunError",
    "Scheduler",
    "SmashedBatch",
    "StagedModel",
    "TierChoice",
    "TierCost",
    "TierTable",
    "TokenDataset",
    "TrainConfig",
    "Transcript",
    "WeightUpdate",
    "join",
    "plan",
    "profile",
    "split",
    "staged",
    "train",
]
