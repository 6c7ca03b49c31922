"""A client that looks before it takes part: it learns what it would give away, and gives nothing away by that."""

from types import SimpleNamespace

from dtfl_private.deployed.client import looking
from dtfl_private.deployed.client.joining import Joining
from dtfl_private.deployed.client.looking import look
from dtfl_private.deployed.client.own_data import own_images
from dtfl_private.protection.base import name_of
from tests.deployed.federation import federation
from tests.deployed.test_refusals import credentials


def test_who_looks_is_told_of_the_run_with_its_own_defenses_and_agrees_to_nothing(tmp_path, monkeypatch):
    audited = []

    def self_audit(config, dataset, *_, defenses, **__):
        audited.append((config, len(dataset.train_labels), list(map(name_of, defenses))))
        return SimpleNamespace(lines=["tier 1: exposed"])

    monkeypatch.setattr(looking, "self_audit", self_audit)
    with federation(tmp_path, defense=["dropout:p=0.1"], normalization="client-sums") as made:
        server = made.serve()
        joining = Joining(
            address=made.address,
            credentials=credentials(made, 1),
            images=lambda config, client: own_images(None, None, config, client),
            store=tmp_path / "store",
            defenses=["pixel-dp:epsilon=3"],
        )
        said: list[str] = []
        assert look(joining, said.append).lines == ["tier 1: exposed"]
        assert server.wait_for("note", "client 1 has read") == (
            "client 1 has read the configuration and left; it takes no part yet"
        )
    assert "defenses: dropout:p=0.1" in said[1]
    ((config, images, defenses),) = audited
    assert (config.model, images) == ("resnet-8", 32)
    assert defenses == ["dropout", "pixel-dp"]
    assert not (tmp_path / "store").exists()
