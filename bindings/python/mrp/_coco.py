"""Annotations of COCO as a folder with masks."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mrp._mrp import ArgumentError, FormatError


def masks_from_coco(annotations: str | os.PathLike[str], images: str | os.PathLike[str], output: str | os.PathLike[str]) -> Path:
    """Writes a folder that MaskFolder opens, from a JSON file of COCO's instances and the folder of its images.

        mrp.Segmenter(encoder="resnet18").fit(mrp.masks_from_coco("instances_train.json", "train2017", "train"))

    `output` is a new folder: images/ links to the images; SegmentationClass/ has the class of each pixel, 0 for the background, then
    the categories in the order of their numbers; SegmentationObject/ the object of each pixel, 1, 2, ... in an image; labelmap.txt the
    names. Where objects overlap the smaller one is on top; pixels of crowds (`iscrowd`) that no object covers are 255: ignored. An image
    without annotations is background. Polygons and run lengths become pixels by `pycocotools`, which must be installed, exactly as in
    COCO's evaluation.

    Returns the folder. Errors: FormatError for a file that is none of COCO's instances, ArgumentError for an output that exists, images
    that are missing or have the same stem, and more than 254 categories.
    """
    from mrp._command_work import png_of_ids
    from mrp._segmenter import write_label_map

    source = Path(annotations)
    try:
        coco = json.loads(source.read_bytes())
    except ValueError as error:
        raise FormatError(f"'{source}' is not JSON: {error}") from None
    if not isinstance(coco, dict) or _missing_of(coco):
        raise FormatError(f"'{source}' is no file of COCO's instances: it needs images, annotations and categories")
    folder = Path(output)
    if folder.exists():
        raise ArgumentError(f"'{folder}' exists: masks are written into a new folder")
    categories = sorted(coco["categories"], key=lambda category: category["id"])
    if len(categories) > 254:
        raise ArgumentError(f"'{source}' has {len(categories)} categories, masks of 8 bits hold 254")
    place = {category["id"]: index + 1 for index, category in enumerate(categories)}
    of_image: dict[Any, list[dict[str, Any]]] = {}
    for annotation in coco["annotations"]:
        if annotation["category_id"] not in place:
            raise FormatError(f"'{source}': an annotation has the category {annotation['category_id']}, which is not among its categories")
        of_image.setdefault(annotation["image_id"], []).append(annotation)
    names = [Path(image["file_name"]) for image in coco["images"]]
    if absent := next((name for name in names if not Path(images, name).is_file()), None):
        raise ArgumentError(f"'{source}' names '{absent}', which '{os.fspath(images)}' does not have")
    if len({name.stem for name in names}) < len(names):
        raise ArgumentError(f"'{source}' names images with the same stem: masks are called by it")
    for part in ("images", "SegmentationClass", "SegmentationObject"):
        (folder / part).mkdir(parents=True)
    for image, name in zip(coco["images"], names, strict=True):
        (folder / "images" / name.name).symlink_to(Path(images, name).resolve())
        classes, objects = _maps(of_image.get(image["id"], []), image["height"], image["width"], place)
        (folder / f"SegmentationClass/{name.stem}.png").write_bytes(png_of_ids(classes, len(place) + 1))
        (folder / f"SegmentationObject/{name.stem}.png").write_bytes(png_of_ids(objects, 1 << 16))
    write_label_map(folder, ["background", *(str(category["name"]) for category in categories)])
    return folder


def _missing_of(coco: dict[str, Any]) -> list[str]:
    return [key for key in ("images", "annotations", "categories") if not isinstance(coco.get(key), list)]


def _maps(
    annotations: list[dict[str, Any]], height: int, width: int, place: dict[Any, int]
) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.uint16]]:
    """Classes and objects of the pixels of one image."""
    from pycocotools import mask as codes

    classes, objects = np.zeros((height, width), np.uint16), np.zeros((height, width), np.uint16)

    def pixels(annotation: dict[str, Any]) -> npt.NDArray[np.bool_]:
        shape = annotation["segmentation"]
        if isinstance(shape, list):
            shape = codes.merge(codes.frPyObjects(shape, height, width))
        elif isinstance(shape["counts"], list):
            shape = codes.frPyObjects(shape, height, width)
        covered: npt.NDArray[np.bool_] = codes.decode(shape) > 0
        return covered

    number = 0
    ordered = sorted(annotations, key=lambda annotation: (not annotation.get("iscrowd", 0), -annotation.get("area", 0)))
    for annotation in ordered:
        covered = pixels(annotation)
        if annotation.get("iscrowd", 0):
            classes[covered] = objects[covered] = 255
            continue
        number += 1 if number != 254 else 2  # 255 is ignored
        classes[covered], objects[covered] = place[annotation["category_id"]], number
    return classes, objects
