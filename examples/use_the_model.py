"""Train on a folder of images, predict new ones, hand the network on.

python examples/use_the_model.py PHOTOS, which holds train/CLASS/image.png and test/CLASS/image.png
"""

import sys

from dtfl_private import TrainConfig, load_run, train


def main(photos: str, out: str = "runs/photos", rounds: int = 30) -> None:
    """Print how well the network recognises each class, and where it was exported to."""
    train(TrainConfig(dataset="image-folder:size=32", data_dir=photos, clients=4, rounds=rounds), out=out)
    run = load_run(out)
    predictions = run.predict(f"{photos}/test")
    print(f"accuracy {predictions.accuracy:.4f}, the run reported {run.summary['final_accuracy']:.4f}")
    for name, recall in predictions.recall.items():
        print(f"{name}: recall {recall:.4f}")
    print(run.export("onnx"))


if __name__ == "__main__":
    main(sys.argv[1])
