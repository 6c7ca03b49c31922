"""A client whose server never comes back ends by itself."""

import pytest

from dtfl_private.deployed.client.joining import Joining, join
from dtfl_private.deployed.project.credentials import read_client_credentials
from dtfl_private.errors import RunError

NOBODY = "127.0.0.1:1"


@pytest.mark.parametrize(("patience_s", "attempts"), [(0.0, 0), (0.05, 1)])
def test_a_client_gives_up_once_nobody_has_been_there_for_long(project, now, tmp_path, patience_s, attempts):
    side, said = project.client(1), []
    joining = Joining(
        address=NOBODY,
        credentials=read_client_credentials(side.authority, side.certificate, side.key, now=now),
        images=lambda *_: pytest.fail("nobody has asked for images"),
        store=tmp_path / "store",
        patience_s=patience_s,
        first_wait_s=1000.0,  # the wait is not longer than what is left of the patience
    )
    with pytest.raises(RunError, match=rf"the server at {NOBODY} has not been there for {patience_s:g} s \("):
        join(joining, said.append)
    assert len(said) <= attempts
