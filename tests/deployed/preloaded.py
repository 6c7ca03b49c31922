"""What the process that all others are forked from has loaded: what opening a run imports takes seconds in each."""

import multiprocessing

from dtfl_private.deployed.server.opening import open_run
from dtfl_private.experiments.config.train_config import make_config
from tests.deployed.federation import SMALL

if multiprocessing.parent_process() is None:  # in the process that forks, which has no parent of its own
    open_run(make_config(SMALL, "preloaded"))
