from dtfl_private.auditing.audit_config import AuditConfig
from dtfl_private.auditing.repeat import options_of
from dtfl_private.cli.audit import audit as audit_command


def test_the_command_that_repeats_an_audit_asks_for_what_was_asked():
    config = AuditConfig(tiers=(1, 3), seeds=5, attacks=("decoder:epochs=3",), aux="shifted:mnist")
    given = options_of(config.settled())
    assert given == [
        *("--preset", "quick", "--tier", "1", "--tier", "3", "--attack", "decoder:epochs=3"),
        *("--aux", "shifted:mnist", "--seeds", "5"),
    ]
    known = {option for parameter in audit_command.params for option in parameter.opts}
    assert {f"--{name.replace('_', '-')}" for name in AuditConfig.model_fields} - known == {"--attacks", "--tiers"}
