"""What is recorded of the built-in plug-ins is what their code says."""

from dtfl_private.cli.listed.built_in import FILE, built_in, built_in_document
from dtfl_private.protection.base import Defense


class Theirs(Defense):
    """Do nothing."""


def test_the_record_is_that_of_the_code_and_leaves_out_what_other_packages_offer(offer):
    offer("defense", "theirs", Theirs)
    same = FILE.read_text("utf-8") == built_in_document()
    assert same, "dtfl_private/cli/listed/built_in.json is not that of the code: `make lists` writes it anew"


def test_of_a_kind_without_torch_nothing_is_recorded():
    assert built_in("scheduler") == {}
