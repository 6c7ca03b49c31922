"""What the process that all others are forked from has loaded: what opening a run imports takes seconds in each."""

import multiprocessing
import warnings

from dtfl_private.deployed.server.opening import open_run
from dtfl_private.experiments.config.train_config import make_config
from tests.deployed.federation import SMALL
from tests.other_processes import without_waiting_and_pictures

if multiprocessing.parent_process() is None:  # in the process that forks, which has no parent of its own
    open_run(make_config(SMALL, "preloaded"))
    without_waiting_and_pictures()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # what Flower imports uses old names of others
        import flwr.app
        import flwr.common.serde
        import flwr.proto.recorddict_pb2
        import flwr.serverapp  # noqa: F401 # for those that are forked
