"""Files that extend others: what wins, and what is refused."""

from pathlib import Path

import pytest

from dtfl_private.errors import InputError
from dtfl_private.experiments.config.composition import (
    DEEPEST,
    MOST_FILES,
    file_layers,
    flattened,
    origins,
    set_values,
)


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def written(name: str, text: str) -> Path:
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return written


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as refused:
        file_layers(path)
    return str(refused.value)


def test_later_files_win_and_the_files_own_keys_win_over_all(write):
    write("base.toml", 'rounds = 5\nclients = 3\nlr = 0.1\ndefense = ["identity", "dropout"]')
    write("sub/more.toml", "clients = 4\nseed = 1")
    path = write("mine.toml", 'extends = ["base.toml", "sub/more.toml"]\nlocal-epochs = 2\nseed = 7\ndefense = []')
    layers = file_layers(path)
    assert flattened(layers) == {
        "rounds": 5,
        "clients": 4,
        "lr": 0.1,
        "seed": 7,
        "local_epochs": 2,
        "defense": [],  # as a whole
    }
    assert origins(layers) == {
        "rounds": "base.toml",
        "lr": "base.toml",
        "clients": "sub/more.toml",
        "seed": "mine.toml",
        "local_epochs": "mine.toml",
        "defense": "mine.toml",
    }


def test_a_file_is_looked_for_beside_the_one_that_extends_it(write):
    write("configs/sub/base.toml", "rounds = 5")
    write("configs/sub/middle.toml", 'extends = "base.toml"')
    assert flattened(file_layers(write("configs/a.toml", 'extends = "sub/middle.toml"'))) == {"rounds": 5}


def test_a_file_may_be_extended_twice_but_not_by_itself(write):
    write("base.toml", "rounds = 5")
    write("b.toml", 'extends = "base.toml"')
    write("c.toml", 'extends = "base.toml"\nseed = 3')
    assert flattened(file_layers(write("a.toml", 'extends = ["b.toml", "c.toml"]'))) == {"rounds": 5, "seed": 3}
    write("b.toml", 'extends = "sub/c.toml"')
    write("sub/c.toml", 'extends = "../a.toml"')
    assert refusal(Path("a.toml")).endswith("in a circle: a.toml -> b.toml -> sub/c.toml -> sub/../a.toml")
    assert "in a circle: own.toml -> own.toml" in refusal(write("own.toml", 'extends = "own.toml"'))


@pytest.mark.parametrize(
    "where", ["../secret.toml", "{absolute}", "link.toml", "folder/../../secret.toml", "linked/secret.toml"]
)
def test_nothing_elsewhere_is_read(write, tmp_path, where):
    secret = write("secret.toml", "rounds = 3").resolve()
    theirs = write("theirs/folder/x.toml", "").parent.parent
    (theirs / "link.toml").symlink_to(secret)
    (theirs / "linked").symlink_to(tmp_path)
    path = write("theirs/mine.toml", f'extends = "{where.format(absolute=secret)}"')
    assert "is not in or below the folder" in refusal(path)


def test_a_linked_file_extends_what_lies_beside_the_link(write):
    real = write("real/mine.toml", 'extends = "base.toml"').resolve()
    Path("here").mkdir()
    Path("here/mine.toml").symlink_to(real)
    write("here/base.toml", "rounds = 4")
    assert flattened(file_layers(Path("here/mine.toml"))) == {"rounds": 4}


def test_chains_and_numbers_of_files_are_bounded(write):
    for number in range(DEEPEST + 2):
        write(f"c{number}.toml", f'extends = "c{number + 1}.toml"')
    write(f"c{DEEPEST + 2}.toml", "")
    assert f"over more than {DEEPEST} files: c0.toml -> c1.toml" in refusal(Path("c0.toml"))
    assert flattened(file_layers(Path("c4.toml"))) == {}
    write("leaf.toml", "")
    many = write("many.toml", f"extends = {['leaf.toml'] * (MOST_FILES + 1)}".replace("'", '"'))
    assert f"more than {MOST_FILES} files" in refusal(many)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("extends = 3", "extends 3 in 'a.toml' is refused: expected the name of a TOML file"),
        ('extends = [["base.toml"]]', "expected the name of a TOML file"),
        ('extends = ""', "expected the name of a TOML file"),
        ('extendz = "base.toml"', "unknown key in a.toml: 'extendz': did you mean 'extends'?"),
        ('extends = "nowhere.toml"', "configuration that 'a.toml' extends, 'nowhere.toml' does not exist"),
        ('extends = "."', "'.' cannot be read: Is a directory"),
        ('extends = "bad.toml"', "unknown key in bad.toml: 'roundz': did you mean 'rounds'?"),
        ('extends = "no.toml"', "'no.toml' cannot be read: "),
        ('extends = "a\\u0000b"', "is not in or below the folder"),
        ('extend = "base.toml"', "unknown key in a.toml: 'extend'"),
    ],
)
def test_what_cannot_be_extended_is_named(write, text, said):
    write("base.toml", "")
    write("bad.toml", "roundz = 3")
    write("no.toml", "rounds = ")
    assert said in refusal(write("a.toml", text))


def test_settings_are_spelled_as_options_or_as_toml():
    assert set_values(["rounds=3", "local-epochs = 2", 'defense=["dropout:p=0.5", "identity"]', "wire='int8'"]) == {
        "rounds": "3",
        "local_epochs": "2",
        "wire": "int8",
        "defense": ["dropout:p=0.5", "identity"],
    }
    assert set_values(["defense=gaussian-noise:scale=0.5"]) == {"defense": "gaussian-noise:scale=0.5"}


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["rounds"], "--set 'rounds' is not of the form key=value"),
        (["=3"], "not of the form key=value"),
        (["roundz=3"], "unknown key in --set: 'roundz': did you mean 'rounds'?"),
        (["extends=base.toml"], "unknown key in --set: 'extends'"),
        (["rounds=3", "rounds=4"], "--set gives 'rounds' twice"),
        (["defense=[1"], "no TOML value"),
        (['defense="a"\nb = 3'], "no TOML value"),
    ],
)
def test_wrong_settings_are_named(texts, said):
    with pytest.raises(InputError) as refused:
        set_values(texts)
    assert said in str(refused.value)
