import pytest

from dtfl_private.errors import InputError
from dtfl_private.runtime.executor_choice import (
    RayChoice,
    parse_executor,
    require_names,
    require_own_address,
    spelled_executor,
    without_address,
)


@pytest.mark.parametrize(
    ("text", "choice", "spelled"),
    [
        ("local", None, "local"),
        ("ray", RayChoice(), "ray"),
        ("Ray:address=auto", RayChoice(), "ray"),
        ("ray:gpus=0.25", RayChoice(gpus=0.25), "ray:gpus=0.25"),
        ("ray:gpus=0", RayChoice(), "ray"),
        ("ray:address=local,actors=2", RayChoice(address="local", actors=2), "ray:address=local,actors=2"),
        ("ray: address = head.lab:6379 ", RayChoice(address="head.lab:6379"), "ray:address=head.lab:6379"),
        ("ray:address=[::1]:6379", RayChoice(address="[::1]:6379"), "ray:address=[::1]:6379"),
    ],
)
def test_executors_are_read_and_spelled_in_one_way(text, choice, spelled):
    assert parse_executor(text) == choice
    assert spelled_executor(text) == spelled
    assert parse_executor(spelled) == choice


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rey", "unknown executor 'rey': did you mean 'ray'?"),
        ("local:actors=2", "unknown setting of executor 'local' 'actors'"),
        ("ray:adress=auto", "unknown setting of executor 'ray' 'adress': did you mean 'address'?"),
        ("ray:address=ray://head:10001", "address 'ray://head:10001' is refused: expected auto, local or HOST:PORT"),
        ("ray:address=head", "address 'head' is refused"),
        ("ray:address=head:70000", "address 'head:70000' is refused"),
        ("ray:gpus=2", "gpus '2' is refused: expected the share of a GPU"),
        ("ray:gpus=nan", "gpus 'nan' is refused"),
        ("ray:gpus=half", "gpus 'half' is refused"),
        ("ray:actors=0", "actors '0' is refused: expected a number from 1 on"),
        ("ray:actors=\u0664", "is refused: expected a number from 1 on"),
        ("ray:2", "unknown setting of executor 'ray' ''"),
    ],
)
def test_what_is_no_executor_is_refused(text, said):
    with pytest.raises(InputError) as refused:
        parse_executor(text)
    assert said in str(refused.value)


def test_a_file_may_say_that_there_is_a_cluster_but_not_where():
    for text in ("local", "ray", "ray:gpus=0.5", "ray:address=local"):
        require_own_address(text, "a.toml")
    require_own_address(3, "a.toml")
    with pytest.raises(InputError, match=r'^a.toml: executor .* a file may not do that.*write "ray:gpus=0.5"'):
        require_own_address("ray:address=8.8.8.8:6379,gpus=0.5", "a.toml")


def test_a_run_folder_does_not_tell_where_the_cluster_was():
    assert without_address("ray:address=head.lab:6379,gpus=0.5,actors=3") == "ray:gpus=0.5,actors=3"
    assert without_address("ray:address=local") == "ray"
    assert without_address("local") == "local"


def test_jobs_made_of_objects_stay_in_this_process():
    require_names("local", by_name=False)
    require_names("ray", by_name=True)
    with pytest.raises(InputError, match=r"executor ray: .* passed as objects stay in this process"):
        require_names("ray", by_name=False)
