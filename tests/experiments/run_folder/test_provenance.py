import json
import subprocess
import sys
from importlib.metadata import version

from dtfl_private.experiments.run_folder import provenance
from dtfl_private.experiments.run_folder.provenance import describe_environment
from dtfl_private.numerics import Numerics


def test_the_environment_says_versions_device_and_commit():
    found = describe_environment(Numerics(), workers=3, data_sha256="0f", executor="local")
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["versions"]["torch"] == version("torch")
    assert set(found["versions"]) >= {"dtfl-private", "torch", "numpy"}
    assert (found["device"], found["workers"], found["threads_per_worker"]) == ("cpu", 3, 1)
    json.dumps(found)


def test_without_git_or_a_checkout_the_commit_is_unknown(monkeypatch, tmp_path):
    def no_git(*_args, **_settings):
        raise FileNotFoundError

    monkeypatch.setattr(provenance, "_commit", provenance._commit.__wrapped__)  # each time anew
    monkeypatch.setattr(subprocess, "run", no_git)
    assert describe_environment(Numerics(), workers=1, data_sha256="0f", executor="local")["commit"] is None
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "dtfl_private" / "a" / "b" / "c.py"))
    assert describe_environment(Numerics(), workers=1, data_sha256="0f", executor="local")["commit"] is None
