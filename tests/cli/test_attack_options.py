import click
import pytest

from dtfl_private.attacking.attack_config import AttackConfig
from dtfl_private.auditing.audit_config import AuditConfig
from dtfl_private.cli.attack_options import LEAST, attacked_tiers
from dtfl_private.cli.group import load_command
from dtfl_private.errors import InputError

# For audits, which mount what can be mounted.
INTERNAL = {"where_applicable"}


@pytest.mark.parametrize(("command", "model"), [("attack", AttackConfig), ("audit", AuditConfig)])
def test_every_field_is_an_option_with_its_description_and_default(command, model):
    options = {parameter.name: parameter for parameter in load_command(command).params}
    for name, field in model.model_fields.items():
        if name in INTERNAL:
            assert name not in options
            continue
        option = options[name]
        assert option.help.startswith(field.description)
        if isinstance(option.type, click.IntRange):
            assert option.type.min == LEAST.get(name, 100 if name == "measured" else 1)
        if not (option.multiple or option.is_flag) and field.default is not None:
            assert (option.default, option.show_default) == (field.default, True)


def test_without_options_a_configuration_is_the_models_own():
    for command, model, others in (("attack", AttackConfig, INTERNAL), ("audit", AuditConfig, set())):
        given = load_command(command).make_context(command, ["run"]).params
        values = {name: value for name, value in given.items() if name in model.model_fields and value != ()}
        repeated = {"attacks", "tiers"} | ({"clients"} if command == "attack" else set())
        assert {*values} | repeated | others == {*model.model_fields}
        assert model(**values) == model()


@pytest.mark.parametrize(
    ("texts", "tiers"), [((), None), (("2",), [2]), (("1,3", "2"), [1, 3, 2]), (("all",), "all"), (("1", "all"), "all")]
)
def test_tiers_are_numbers_or_all(texts, tiers):
    assert attacked_tiers(texts) == tiers


@pytest.mark.parametrize("text", ["deep", "0", "-1", "1.5", "²", ""])
def test_no_other_tier_is_taken(text):
    with pytest.raises(InputError, match="is refused: expected a number from 1 on, or all"):
        attacked_tiers((text,))
