from dtfl_private.attacking.result_cache import ResultCache
from dtfl_private.attacking.victims.replay import open_run
from dtfl_private.auditing.audit_config import AuditConfig
from dtfl_private.auditing.identity_check import identity_check
from dtfl_private.experiments.setup.run_objects import RunObjects
from dtfl_private.plugins.registry import create
from dtfl_private.runtime.callback import Callback


def test_a_real_attack_passes_the_real_check_on_the_identity(trained, objects, tmp_path):
    opened = open_run(trained(), objects=RunObjects(**objects))
    config = (
        AuditConfig.model_validate({"victims": 8, "aux_images": 60, "workers": 1, "device": "cpu"})
        .settled()
        .attacking(1)
    )
    attack = create("attack", "optimization:steps=60,smoothness=0.0001")
    check = identity_check(opened, config, [attack], ResultCache(tmp_path, {}), Callback())
    assert check.needed == 0.99
    assert check.passed
