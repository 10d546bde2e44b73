#!/usr/bin/env python3
"""Pretrain without labels, fine-tune with few, and compare with the same network trained from scratch.

python examples/python/quickstart.py            images that the library generates
python examples/python/quickstart.py cifar10    a folder with train/<class>/*.jpg and test/<class>/*.jpg
"""

import argparse

import mrp

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("folder", nargs="?", help="image folder with train/<class> and test/<class>")
parser.add_argument("--encoder", default="vit_mini", help="vit_mini and larger, resnet18 and the like, convnextv2_atto and the like")
parser.add_argument("--images", type=int, default=5_000, help="generated images to pretrain on")
parser.add_argument("--labels", type=int, default=300, help="labelled images to fine-tune on")
parser.add_argument("--epochs", type=float, default=10, help="epochs of pretraining")
parser.add_argument("--finetune-epochs", type=float, default=20, help="epochs of fine-tuning")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--output", default="reconstructions.png", help="picture of original, masked and reconstructed images")
args = parser.parse_args()

if args.folder:
    train, test = mrp.ImageFolder(f"{args.folder}/train"), mrp.ImageFolder(f"{args.folder}/test")
else:
    train = mrp.Dataset.generate(args.images, random_state=args.seed)
    test = mrp.Dataset.generate(max(args.images // 10, 10), random_state=args.seed, synthetic_first_image=args.images)
few = train.subset(args.labels, random_state=args.seed)

mae = mrp.MaskedAutoencoder(encoder=args.encoder, epochs=args.epochs, batch_size=256, random_state=args.seed, progress=True)
mae.fit(train)  # labels are not read

recipe = {"epochs": args.finetune_epochs, "batch_size": 32, "learning_rate": 1e-3, "random_state": args.seed, "progress": True}
pretrained = mrp.Classifier(mae, **recipe).fit(few)  # few labels need small batches
scratch = mrp.Classifier(args.encoder, **recipe).fit(few)
print(f"{len(few)} labels, {len(test)} test images")
print(f"pretrained    {100 * pretrained.score(test):.1f} % correct")
print(f"from scratch  {100 * scratch.score(test):.1f} % correct")

mae.plot_reconstructions(test[:8]).savefig(args.output, dpi=150)
print(f"original, masked and reconstructed images are in {args.output}")
