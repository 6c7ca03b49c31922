import torch

from dtfl_private.defenses.identity import Identity
from dtfl_private.protection.client_context import ClientRound
from dtfl_private.protection.defense_chain import DefenseChain
from dtfl_private.protocol.messages import SmashedBatch, WeightUpdate

BATCH = SmashedBatch(client=0, round=1, tier=1, batch=0, smashed=torch.ones(2, 3), labels=torch.zeros(2).long())
UPDATE = WeightUpdate(client=0, round=1, tier=1, examples=2, weights={"w": torch.ones(1)}, head={})
AT = ClientRound(seed=0, client=0, round=1, tier=1, records=2, classes=2)


def test_the_identity_lets_every_message_go_as_it_is():
    assert Identity().protect_batch(BATCH, AT) is BATCH
    assert Identity().protect_update(UPDATE, AT) is UPDATE


def test_so_does_a_chain_of_none_or_several():
    for chain in (DefenseChain(), DefenseChain([Identity(), Identity()])):
        assert chain.protect_batch(BATCH, AT) is BATCH
        assert chain.protect_update(UPDATE, AT) is UPDATE
