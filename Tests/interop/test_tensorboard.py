"""The event files of a run, read back by the tensorboard package."""

import csv

import mrp
import numpy as np

NETWORK = {
    "width": 16,
    "depth": 1,
    "heads": 2,
    "mlp_ratio": 2,
    "decoder_width": 16,
    "decoder_depth": 1,
    "decoder_heads": 2,
    "patch_size": 4,
}


def test_tensorboard_reads_what_the_log_says(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    images = np.random.default_rng(7).integers(0, 256, (40, 3, 8, 8), dtype=np.uint8)
    options = NETWORK | {"threads": 1, "batch_size": 8, "epochs": 2, "progress": False, "run_folder": tmp_path, "checkpoint_steps": 3}
    mrp.MaskedAutoencoder(**options).fit(images, callback=lambda progress: progress.step == 5)
    for path in tmp_path.glob("pretrain-00000005.ckpt"):
        path.unlink()  # so that the second run begins before the end of the first one
    mrp.MaskedAutoencoder(**options).fit(images)
    assert len(list(tmp_path.glob("pretrain/events.out.tfevents.*"))) == 2
    events = EventAccumulator(str(tmp_path / "pretrain")).Reload()
    with open(tmp_path / "pretrain.csv") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == list(range(1, 11))
    for name in ("loss", "mean_loss", "learning_rate", "epoch"):
        scalars = events.Scalars(f"pretrain/{name}")
        assert [scalar.step for scalar in scalars] == list(range(1, 11))
        assert [scalar.value for scalar in scalars] == [np.float32(row[name]) for row in rows]
