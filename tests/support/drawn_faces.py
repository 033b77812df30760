"""Faces of the miniature's drawn world on disk, in the layouts in which people publish faces."""

from __future__ import annotations

import csv
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from fairlit.faces import Faces, crop_faces
from fairlit_miniature.drawing import draw_scene
from fairlit_miniature.world import Labels, balanced_scene

RACES = ("White", "Black", "Latino_Hispanic", "East Asian", "Southeast Asian", "Indian", "Middle Eastern")
AGES = {"young": ("0-2", "3-9", "10-19", "20-29", "30-39"), "old": ("40-49", "50-59", "60-69", "more than 70")}
COLUMNS = ("file", "age", "gender", "race", "service_test")


def draw_face(index: int, seed: int = 5, size: int = 64) -> tuple[Tensor, Labels]:
    """One face, uint8 [3, size, size], with what it was drawn as."""
    scene = balanced_scene(seed, index)
    drawing = draw_scene(scene)
    pixels = torch.from_numpy(drawing.pixels).permute(2, 0, 1)[None].float() / 255
    boxes = torch.from_numpy(drawing.boxes)
    faces = Faces(torch.tensor([0]), boxes, torch.ones(1), torch.zeros(1, 5, 2), 1)
    crop = crop_faces(pixels, faces, size, margin=0.2)[0]
    return (crop * 255).round().to(torch.uint8), scene.people[0]


def save_face(pixels: Tensor, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(path)


def write_fairface(folder: Path, train: int, val: int) -> Path:
    """A folder in FairFace's layout. Drawn faces have no race: those labels are dealt out in turn."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, count, start in (("train", train, 0), ("val", val, train)):
        rows = []
        for number in range(count):
            pixels, person = draw_face(start + number)
            save_face(pixels, folder / split / f"{number + 1}.png")
            ages = AGES[person["age"]]
            age, race = ages[number % len(ages)], RACES[number % len(RACES)]
            rows.append([f"{split}/{number + 1}.png", age, person["gender"].capitalize(), race, str(number % 2 == 0)])
        with (folder / f"fairface_label_{split}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([COLUMNS, *rows])
    return folder


def write_celeba(folder: Path, count: int) -> Path:
    """A folder in CelebA's layout: pictures of 178 x 218 pixels, of which `celeba.SQUARE` is the face."""
    names = ("Black_Hair", "Blond_Hair", "Male", "Young")
    attributes, partition = [str(count), " ".join(names)], []
    (folder / "img_align_celeba").mkdir(parents=True)
    for number in range(count):
        pixels, person = draw_face(number, size=178)
        picture = Image.new("RGB", (178, 218))
        picture.paste(Image.fromarray(pixels.permute(1, 2, 0).numpy()), (0, 27))
        picture.save(folder / "img_align_celeba" / f"{number + 1:06d}.png")
        hair = (number % 4 == 0, number % 4 < 2)  # both, blond alone, neither, neither
        present = (*hair, person["gender"] == "male", person["age"] == "young")
        attributes.append(f"{number + 1:06d}.png " + " ".join(" 1" if is_there else "-1" for is_there in present))
        partition.append(f"{number + 1:06d}.png {0 if number % 5 < 3 else number % 5 - 2}")
    (folder / "list_attr_celeba.txt").write_text("\n".join(attributes) + "\n")
    (folder / "list_eval_partition.txt").write_text("\n".join(partition) + "\n")
    return folder
