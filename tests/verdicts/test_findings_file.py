import json
from pathlib import Path

import jsonschema
import pytest
from audit_samples import full
from pydantic import ValidationError

from dtfl_private.errors import InputError
from dtfl_private.verdicts.findings import Findings
from dtfl_private.verdicts.findings_file import findings_document, findings_schema, read_findings

PUBLISHED = Path(__file__).parents[2] / "docs" / "audit.schema.json"


@pytest.fixture(scope="module")
def validator():
    schema = json.loads(findings_schema())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.fixture
def document():
    """The contents of audit.json of a whole audit."""
    return json.loads(findings_document(full()))


def test_the_published_schema_is_that_of_the_code():
    same = PUBLISHED.read_text("utf-8") == findings_schema()
    assert same, "docs/audit.schema.json is not that of the code: `make schema` writes it anew"


def test_a_whole_audit_is_valid_and_comes_back_as_it_was(document, validator, tmp_path):
    validator.validate(document)
    path = tmp_path / "audit.json"
    path.write_bytes(findings_document(full()))
    assert read_findings(path) == full()


def test_a_file_of_before_there_were_p_values_still_opens(document, validator, tmp_path):
    """Without the keys that came later: in results, in verdicts, of the whole audit."""
    newer = {"advantage", "advantage_ci_low", "advantage_ci_high", "p_value", "decided_by", "chance", "convergence"}
    newer |= {"auxiliary_curve", "by_client"}

    def older(value):
        if isinstance(value, dict):
            return {key: older(item) for key, item in value.items() if key not in newer}
        return [older(item) for item in value] if isinstance(value, list) else value

    validator.validate(older(document))
    path = tmp_path / "audit.json"
    path.write_text(json.dumps(older(document)), "utf-8")
    found = read_findings(path)
    assert (found.chance, found.convergence) == (None, None)
    assert found == full(convergence=None, auxiliary_curve=(), by_client=())


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("schema_version",), 2),
        (("news",), "what nobody knows"),
        (("verdict", 0, "level"), "safe"),
        (("verdict", 0, "strongest", "value"), "high"),
        (("results", 0, "tier"), 0),
        (("results", 0, "cut"), []),
        (("training", "test_accuracy"), 1.5),
        (("clients", 0, "releases"), -1),
        (("clients", 0, "by_tier"), {"1": "often"}),
        (("guarantees", 0, "what"), "everything"),
        (("guarantees", 0, "sentence"), "x" * 4001),
        (("sanity", 0, "passed"), None),
        (("convergence", "metric"), "psnr"),
        (("convergence", "margin"), -0.1),
        (("auxiliary_curve", 0, "images"), 0),
        (("results", 0, "p_value"), 1.5),
        (("chance",), {"tests": -1, "level": 0.1, "false_alarm_rate": 0.1}),
        (("compared", "rows", 0, "apart"), "yes"),
    ],
)
def test_what_breaks_a_rule_is_refused_by_the_schema_and_by_the_program(place, value, document, validator, tmp_path):
    changed = document
    for step in place[:-1]:
        changed = changed[step]
    changed[place[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(document)
    with pytest.raises(ValidationError):
        Findings.model_validate_json(json.dumps(document))
    path = tmp_path / "audit.json"
    path.write_text(json.dumps(document), "utf-8")
    with pytest.raises(InputError, match=str(place[0])):
        read_findings(path)


@pytest.mark.parametrize("key", ["run", "training", "valid", "results", "verdict", "guarantees", "repeat"])
def test_what_is_missing_is_refused_by_both(key, document, validator):
    del document[key]
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(document)
    with pytest.raises(ValidationError):
        Findings.model_validate_json(json.dumps(document))
