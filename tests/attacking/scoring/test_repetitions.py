import torch

from dtfl_private.attacking.scoring.repetitions import Repetition, common_victims, sent_labels
from dtfl_private.attacking.victims.victims import Victims
from dtfl_private.protocol.messages import ModelDownload, Seen, SmashedBatch
from dtfl_private.training.recording import Recording, Truth


def victims(*records, labels=()) -> Victims:
    """Return victims with these places in the training set; whose clients sent ``labels``, a list per batch."""
    count = len(records)
    truth = Truth(images=torch.zeros(count, 1, 2, 2), labels=torch.zeros(count), records=torch.tensor(records))
    download = ModelDownload(client=0, round=1, tier=1, weights={}, head={})
    batches = tuple(
        SmashedBatch(client=0, round=1, tier=1, batch=number, smashed=torch.zeros(len(sent)), labels=torch.tensor(sent))
        for number, sent in enumerate(labels)
    )
    return Victims(
        recordings=[Recording(seen=Seen(download=download, batches=batches, update=None), truth=truth, remarks=())]
    )


def test_repetitions_are_compared_on_the_victims_that_all_of_them_share():
    first = Repetition(victims=victims(7, 3, 5), tampering=None, guess=torch.tensor([70, 30, 50]))
    second = Repetition(victims=victims(3, 9, 7), tampering=None, guess=torch.tensor([31, 91, 71]))
    places, guesses = common_victims([first, second])
    assert first.victims.records[places].tolist() == [3, 7]
    assert [guess.tolist() for guess in guesses] == [[30, 70], [31, 71]]


def test_labels_are_those_that_were_sent_not_the_true_ones():
    assert sent_labels(victims(1, 2, 3, labels=([4, 5], [6]))).tolist() == [4, 5, 6]
