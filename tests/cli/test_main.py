"""The entry: one line and status 2 for wrong input; the package run as a module."""

import runpy
import sys

import pytest


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("train --dataset digit", "unknown dataset 'digit': did you mean 'digits'?"),
        ("train --dataset fashion_mnst", "unknown dataset 'fashion_mnst': did you mean 'fashion-mnist'?"),
        ("train --model resnet-9", "unknown model 'resnet-9': did you mean 'resnet-8'?"),
        ("train --method dtlf", "unknown method 'dtlf': did you mean 'dtfl'?"),
        ("train --scheduler dynamik", "unknown scheduler 'dynamik': did you mean 'dynamic'?"),
        ("train --partition idd", "unknown partition 'idd': did you mean 'iid'?"),
        ("train --defense identiti", "unknown defense 'identiti': did you mean 'identity'?"),
        ("train --profiles papr", "unknown set of profiles 'papr': did you mean 'paper'?"),
        ("train --profiles mine.toml", "profiles file 'mine.toml' does not exist"),
        ("train --dataset fashion-mnist --data-dir nowhere", "no Fashion-MNIST in nowhere: "),
        ("train --dataset cifar-10 --data-dir nowhere", "no CIFAR-10 in nowhere"),
        ("train --clients 50 --max-train-images 40", "clients 50 is more than the 40 training images"),
        ("train --max-train-images 2000", "max_train_images 2000 is more than the 1437 training images of digits"),
        ("train --tiers 5", "tiers 5 is above what resnet-8 has: its 5 modules make 4 tiers"),
        ("train --leakage-budget a.json", "leakage budget 'a.json' is refused: expected AUDIT.json:metric=NAME,max=X"),
        ("train --leakage-budget a.json:max=0.4", "audit a.json cannot be read: No such file"),
        ("train --leakage-budget a.json:metric=mse,max=0.4", "low values of mse expose, so give min=X, not max="),
        ("train --leakage-budget a.json:max=1 --allowed-tiers 1", "give one of them"),
        ("train --leakage-budget a.json:max=1 --method fedavg", "method fedavg has no tiers to choose from"),
        ("train --allowed-tiers 0", "allowed_tiers.0 '0' is refused"),
        ("train --allowed-tiers 2,5", "allowed tier 5 does not exist: the tiers of resnet-8 are 1..4"),
        ("plan --leakage-budget a.json:max=0.4", "audit a.json cannot be read: No such file"),
        ("plan --allowed-tiers 5", "allowed tier 5 does not exist"),
        ("train --scheduler static:5", "scheduler static:5 names a tier that is not allowed here: tiers 1..4 are"),
        ("train --tiers 2 --scheduler static:1", "tiers 3..4 are"),
        ("train --scheduler static", "scheduler 'static' needs a value for 'm': write static:m=VALUE"),
        ("train --scheduler static:m=1,n=2", "unknown setting of scheduler 'static' 'n'"),
        ("train --rounds 0", "rounds '0' is refused: input should be greater than or equal to 1"),
        ("train --rounds 2.5", "rounds '2.5' is refused: input should be a valid integer"),
        ("train --lr -0.1", "lr '-0.1' is refused: input should be greater than 0"),
        ("train --lr nan", "lr 'nan' is refused"),
        ("train --noise -1", "noise '-1' is refused"),
        ("train --weight-decay -1", "weight_decay '-1' is refused"),
        ("train --cpu-gmacs -2", "cpu_gmacs '-2' is refused"),
        ("train --dropout 1.5", "dropout '1.5' is refused: input should be less than or equal to 1"),
        ("train --fraction 0", "fraction '0' is refused"),
        ("train --batch-size 1", "batch_size '1' is refused"),
        ("train --partition dirichlet:0", "partition 'dirichlet': alpha=0 is refused"),
        ("train --partition dirichlet:-1", "alpha=-1 is refused"),
        ("train --optimizer adm", "unknown optimizer 'adm': did you mean 'adam'?"),
        ("train --device cuda:0", "unknown device 'cuda:0': did you mean 'cuda'?"),
        ("train --augment crop,flop", "unknown augment 'flop': did you mean 'flip'?"),
        ("train --defense identity:eps=1", "defense 'identity' takes no settings"),
        ("train nothing.toml", "configuration 'nothing.toml' does not exist"),
        ("train a.toml b.toml", "unexpected extra argument"),
        ("train --roundz 3", "No such option"),
        ("train --rounds", "requires an argument"),
        ("train --resume", "--resume needs --out RUN"),
        (f"train --out {'n' * 300}", "File name too long"),
        (f"train --profiles {'n' * 300}", "cannot be read"),
        (f"train --dataset fashion-mnist --data-dir {'n' * 300}", "File name too long"),
        ("train --dataset fashion-mnist --data-dir \udcff", "no Fashion-MNIST in"),
        (f"train --batch-size {10**29}", "is refused: input should be less than or equal to"),
        (f"train --local-epochs {10**29}", "is refused: input should be less than or equal to"),
        ("train --cpu-gmacs 1e-320", "is refused: input should be greater than or equal to"),
        ("plan --noise 1000", "noise '1000' is refused"),
        ("plan --input-shape ²x8x8", "is not CHANNELSxHEIGHTxWIDTH"),
        ("profile --input-shape 9999999999x32x32", "has more than 16,777,216 values"),
        ("train --resume --out gone --rounds 0", "rounds '0' is refused"),
        ("train --out .", "run folder '.' cannot be made: it needs a name of its own"),
        ("profile --model resnet-57", "unknown model 'resnet-57': did you mean 'resnet-56'?"),
        ("profile --input-shape 32x32", "input shape '32x32' is not CHANNELSxHEIGHTxWIDTH"),
        ("profile --input-shape 1x2x2 --repeats 0", "images of 2x2 are too small"),
        ("profile --repeats 0 --json nowhere/table.json", "'nowhere/table.json' cannot be written"),
        ("plan --clients 0", "clients '0' is refused"),
        ("plan --images-per-client 0", "Invalid value for '--images-per-client'"),
        ("plan --scheduler static:8", "static:8 names a tier that is not allowed here"),
        ("list modles", "unknown list 'modles': did you mean 'models'?"),
        ("list", "Missing argument"),
        ("trane", "unknown command 'trane': did you mean 'train'?"),
        ("--verbose", "No such option"),
    ],
)
def test_wrong_input_is_answered_in_one_line_and_writes_nothing(dtfl, tmp_path, arguments, said):
    answer = dtfl(*arguments.split())
    assert answer.status == 2
    assert answer.err.startswith("error: ")
    assert said in answer.err
    assert answer.err.count("\n") == 1
    assert answer.err.endswith("\n")
    assert answer.out == ""
    assert list(tmp_path.iterdir()) == []


def test_the_package_can_be_run_as_a_module(capsys, monkeypatch):
    monkeypatch.setattr("dtfl_private.runtime.allocator.tune_allocator", lambda: None)
    monkeypatch.setattr(sys, "argv", ["dtfl-private", "list", "methods"])
    with pytest.raises(SystemExit) as left:
        runpy.run_module("dtfl_private", run_name="__main__")
    assert left.value.code == 0
    assert "dtfl" in capsys.readouterr().out
