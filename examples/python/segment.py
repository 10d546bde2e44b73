"""Learns a class for each pixel, with and without pretraining, and draws what it found.

    python segment.py [FOLDER]      a folder with masks (docs/dense.md) that has the splits train and test; without it: generated scenes

Writes segment.png: images, predicted classes with their boundaries, masks, a legend.
"""

import sys

import mrp


def main(folder: str | None) -> None:
    if folder:
        train, test = mrp.MaskFolder(folder, split="train"), mrp.MaskFolder(folder, split="test")
        few = train.subset(25, random_state=0)
        views = {"image_size": 96, "augmentation": "random_crop_flip"}  # windows at the images' own scale
    else:
        train, test = (
            mrp.Dataset.generate_scenes(1500, random_state=1),
            mrp.Dataset.generate_scenes(300, random_state=1, synthetic_first_image=1500),
        )
        few = train.subset(100, random_state=0)
        views = {"image_size": 32}
    network = {"encoder": "resnet18", "width": 32, "stem": "imagenet" if folder else "cifar"} | views
    encoder = mrp.MaskedAutoencoder(**network, epochs=30, random_state=0).fit(train)  # the masks are not looked at
    training = {"epochs": 60, "batch_size": 8, "learning_rate": 1e-3, "dice_weight": 0.5, "random_state": 0}
    for name, start in (("from scratch", {}), ("pretrained", {"encoder": encoder})):
        segmenter = mrp.Segmenter(**(network | views | training | start)).fit(few)
        print(f"{name}: mean IoU {100 * segmenter.score(test):.1f} % of {len(test)} test images, {len(few)} labelled ones")
    segmenter.plot_maps(test.subset(4, random_state=3)).savefig("segment.png", dpi=120)
    print("wrote segment.png")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
