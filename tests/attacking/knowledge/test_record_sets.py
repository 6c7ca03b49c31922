import pytest
import torch

from dtfl_private.attacking.knowledge.record_sets import IndexSets, in_pairs


def test_sets_that_share_records_are_refused():
    apart = {"victims": [1, 2], "auxiliary": [3], "validation": [], "non_members": [4]}
    IndexSets(**{name: torch.tensor(numbers) for name, numbers in apart.items()})
    shared = {**apart, "non_members": [2, 4, 1]}
    with pytest.raises(ValueError, match="non_members and victims share 2 records, as 1"):
        IndexSets(**{name: torch.tensor(numbers) for name, numbers in shared.items()})


def test_of_each_class_there_are_as_many_members_as_others():
    members, labels = torch.tensor([10, 11, 12, 13]), torch.tensor([0, 0, 0, 1])
    others, other_labels = torch.tensor([3, 1, 2, 0, 4]), torch.tensor([1, 0, 2, 0, 1])  # labels by place
    kept, matched = in_pairs(members, labels, others, other_labels)
    assert kept.tolist() == [10, 11, 13]
    assert matched.tolist() == [3, 1, 0]  # place 2 has a class without members, place 4 is one too many
