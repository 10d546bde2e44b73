#!/usr/bin/env python3
"""Pretrain without labels, fine-tune with few, and compare with the same network trained from scratch.

python examples/python/quickstart.py            images that the library generates
python examples/python/quickstart.py cifar10    a folder with train/<class>/*.jpg and test/<class>/*.jpg
"""

import argparse

import mrp

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("folder", nargs="?", help="image folder with train/<class> and test/<class>")
parser.add_argument("--encoder", default="vit_micro", help="vision transformer or convolutional network, such as resnet18")
parser.add_argument("--images", type=int, default=5_000, help="generated images to pretrain on")
parser.add_argument("--labels", type=int, default=300, help="labelled images to fine-tune on")
parser.add_argument("--epochs", type=float, default=50, help="epochs of pretraining")
parser.add_argument("--finetune-epochs", type=float, default=40, help="epochs of fine-tuning")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--output", default="reconstructions.png", help="picture of original, masked and reconstructed images")
args = parser.parse_args()

if args.folder:
    train, test = mrp.ImageFolder(f"{args.folder}/train"), mrp.ImageFolder(f"{args.folder}/test")
else:
    train = mrp.Dataset.generate(args.images, random_state=args.seed)
    test = mrp.Dataset.generate(max(args.images // 10, 10), random_state=args.seed, synthetic_first_image=args.images)
few = train.subset(args.labels, random_state=args.seed)

common = {"preset": "mae_vit_micro_32", "random_state": args.seed, "progress": True}
mae = mrp.MaskedAutoencoder(encoder=args.encoder, epochs=args.epochs, **common).fit(train)  # labels are not read
pretrained = mrp.Classifier(mae, epochs=args.finetune_epochs, **common).fit(few)
scratch = mrp.Classifier(args.encoder, epochs=args.finetune_epochs, **common).fit(few)
print(f"{len(few)} labels, {len(test)} test images")
print(f"pretrained    {100 * pretrained.score(test):.1f} % correct")
print(f"from scratch  {100 * scratch.score(test):.1f} % correct")

mae.plot_reconstructions(test[:8]).savefig(args.output, dpi=150)
print(f"original, masked and reconstructed images are in {args.output}")
