"""audit.json: findings written down, read back from anybody, and the JSON Schema of the file."""

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from dtfl_private.errors import InputError
from dtfl_private.leakage.results.result import (
    first_fault,
    read_limited,
)
from dtfl_private.verdicts.findings import Findings


def findings_document(findings: Findings) -> bytes:
    """Return the text of audit.json."""
    return (findings.model_dump_json(indent=2) + "\n").encode()


def read_findings(path: Path) -> Findings:
    """Return what an audit.json holds, which may come from anybody.

    Raises:
        InputError: the file is missing, too large, no such JSON, or of another version.
    """
    data = read_limited(path, "audit")
    try:
        return Findings.model_validate_json(data)
    except ValidationError as error:
        raise InputError(f"audit {path}: {first_fault(error)}") from None


def findings_schema() -> str:
    """Return the JSON Schema of audit.json, as it is published in docs/audit.schema.json."""
    schema: dict[str, Any] = Findings.model_json_schema()
    return json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}, indent=2) + "\n"
