from dataclasses import replace

from dtfl_private.auditing.audit_config import AuditConfig
from dtfl_private.auditing.repeat import options_of, repeat_commands
from dtfl_private.cli.audit import audit as audit_command
from dtfl_private.experiments.setup.run_objects import RunObjects


def test_the_command_that_repeats_an_audit_asks_for_what_was_asked():
    config = AuditConfig(tiers=(1, 3), seeds=5, attacks=("decoder:steps=3",), aux="shifted:mnist")
    given = options_of(config.settled())
    assert given == [
        *("--preset", "quick", "--tier", "1", "--tier", "3", "--attack", "decoder:steps=3"),
        *("--aux", "shifted:mnist", "--seeds", "5"),
    ]
    known = {option for parameter in audit_command.params for option in parameter.opts}
    assert {f"--{name.replace('_', '-')}" for name in AuditConfig.model_fields} - known == {"--attacks", "--tiers"}


def test_what_was_an_object_cannot_be_asked_for_again(opened, plan):
    of_objects = plan(opened())
    train, audit = repeat_commands(of_objects)
    assert train.startswith("dtfl-private train ")
    assert "from Python" in audit
    by_name = replace(of_objects, attacks=None, opened=replace(of_objects.opened, objects=RunObjects()))
    assert repeat_commands(by_name)[1].startswith(f"dtfl-private audit {of_objects.opened.folder.path} --preset quick")
