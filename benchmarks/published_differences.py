"""Print the size of each difference from the code of Shen et al.: `python benchmarks/published_differences.py`.

Faces are those of images that the embedded model makes; probabilities of the assignment are drawn at random, as in
`benchmarks/transport.py`. docs/differences.md says what each row is about.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

import fairlit
from fairlit import GenerateConfig
from fairlit.diffusion.backbone import Backbone
from fairlit.faces import Faces
from fairlit.faces.classifier import AttributeClassifier
from fairlit.faces.crops import crop_faces
from fairlit.faces.detection import FaceDetection
from fairlit.faces.detector_files import load_detector
from fairlit.faces.embedding import load_embedder
from fairlit.functional import TargetDistribution
from fairlit.functional.alignment.assignment import assign_targets
from fairlit.functional.alignment.preservation import change_factors
from fairlit.functional.boxes.geometry import expand_boxes, square_boxes
from fairlit.pictures.files import read_image

MODELS = Path(__file__).parents[1] / "checkpoints" / "miniature"
PROMPTS = tuple(f"a photo of the face of a {word}, a person" for word in ("doctor", "nurse", "farmer", "dancer"))
SHARES = {
    "gender": {"female": 0.5, "male": 0.5},
    "race": {"WMELH": 0.25, "Black": 0.25, "Indian": 0.25, "Asian": 0.25},
}
FACTORS = {"gender": 0.2, "race": 0.6}
THRESHOLD = 0.8
GROWTH = 1.5  # of the published code's face boxes, along the longer side


def unsure_faces(attributes: tuple[str, ...], images: int, batches: int) -> Iterator[tuple[str, str]]:
    """Yield how many faces have no confident target, and what remains of the image loss by either reading of them."""
    target = TargetDistribution({name: SHARES[name] for name in attributes})
    generator = torch.Generator().manual_seed(0)
    unsure, kept, changed = [], [], []
    for _ in range(batches):
        probabilities = {
            name: (2 * torch.randn(images, len(SHARES[name]), generator=generator)).softmax(dim=1)
            for name in attributes
        }
        references = {name: values.argmax(dim=1) for name, values in probabilities.items()}
        assignment = assign_targets(probabilities, target, draws=100)
        unsure.append(1 - torch.stack([*assignment.confident(THRESHOLD).values()]).all(dim=0).float())
        kept.append(change_factors(assignment.labels, references, FACTORS))
        changed.append(change_factors(assignment.decided(THRESHOLD), references, FACTORS))
    name = " x ".join(attributes)
    yield f"faces without a confident target, {name}, {images} images", f"{torch.cat(unsure).mean():.1%}"
    yield f"mean image loss factor, {name}: `unsure: change`", f"{torch.cat(changed).mean():.3f}"
    yield f"mean image loss factor, {name}: `unsure: keep`", f"{torch.cat(kept).mean():.3f}"


def made_images(folder: Path, images: int) -> Tensor:
    """Return images of the embedded model, float [N, 3, H, W] in [0, 1]."""
    config = GenerateConfig(
        prompt=list(PROMPTS),
        model=str(MODELS / "pipeline"),
        images=images,
        steps=12,
        guidance_scale=1.1,
        out=str(folder),
    )
    fairlit.generate(config)
    return torch.stack([read_image(path) for path in sorted(folder.rglob("*.png"))]).float() / 255


def boxes_and_borders(images: Tensor, faces: Faces) -> Iterator[tuple[str, str]]:
    """Yield what larger boxes free, and what a black border does to the classifier."""
    area = (faces.boxes[:, 2:] - faces.boxes[:, :2]).prod(dim=1)
    larger = square_boxes(expand_boxes(faces.boxes, GROWTH))
    size = images.shape[-1]
    inside = larger.clamp(0, size)
    yield "face box, share of the image", f"{(area / size**2).mean():.1%}"
    grown = (inside[:, 2:] - inside[:, :2]).prod(dim=1)
    yield "box grown by half and squared, share of the image", f"{(grown / size**2).mean():.1%}"
    classifier = AttributeClassifier.load(MODELS / "classifier_audit").eval()
    margin = 0.25
    reach = square_boxes(expand_boxes(faces.boxes, 1 + 2 * margin))
    beyond = ((reach < 0) | (reach > size)).any(dim=1)
    yield "crops that reach beyond the image", f"{beyond.float().mean():.1%}"
    pad = size
    padded = functional.pad(images, [pad] * 4)
    shifted = Faces(faces.image_index, faces.boxes + pad, faces.scores, faces.landmarks + pad, len(images))
    repeated = crop_faces(images, faces, classifier.size, margin)
    black = crop_faces(padded, shifted, classifier.size, margin)
    one, other = classifier(repeated)["gender"].softmax(dim=1), classifier(black)["gender"].softmax(dim=1)
    yield "mean change of P(gender) on these by a black border", f"{(one - other).abs()[beyond, 0].mean():.3f}"
    yield "classes of these that change", f"{(one.argmax(1) != other.argmax(1))[beyond].float().mean():.1%}"


def mirrored_features(images: Tensor, faces: Faces) -> Iterator[tuple[str, str]]:
    """Yield the cosine of a face's features with those averaged over the face and its mirror image."""
    embedder = load_embedder(str(MODELS / "classifier_train"))
    crops = embedder.crop(images, faces)
    plain = functional.normalize(embedder.features(crops), dim=1)
    both = functional.normalize(embedder.features(crops) + embedder.features(crops.flip(3)), dim=1)
    yield "cosine of plain and mirrored features of one face", f"{(plain * both).sum(dim=1).mean():.3f}"


def resizing() -> Iterator[tuple[str, str]]:
    """Yield the share of pixels that the gradient of a resize from 512 to 224 pixels reaches."""
    for antialias in (False, True):
        image = torch.zeros(1, 1, 512, 512, requires_grad=True)
        functional.interpolate(image, size=(224, 224), mode="bilinear", antialias=antialias).sum().backward()
        assert image.grad is not None
        yield f"pixels without gradient, antialias {antialias}", f"{(image.grad == 0).float().mean():.1%}"


def draws() -> Iterator[tuple[str, str]]:
    """Yield the standard error of a confidence that is 0.8."""
    for count in (100, 800):
        yield f"standard error of a confidence of 0.8, {count} draws", f"{(0.8 * 0.2 / count) ** 0.5:.3f}"


@torch.no_grad()
def empty_prompt() -> Iterator[tuple[str, str]]:
    """Yield how the mask of padding tokens changes the embedding of the empty prompt."""
    backbone = Backbone.load(MODELS / "pipeline")
    length = len(backbone.tokenizer(PROMPTS[0]).input_ids)
    tokens = backbone.tokenizer("", padding="max_length", max_length=length, return_tensors="pt")
    plain = backbone.text_encoder(tokens.input_ids)[0]
    masked = backbone.text_encoder(tokens.input_ids, attention_mask=tokens.attention_mask)[0]
    yield "relative change of the empty prompt's embedding", f"{(plain - masked).norm() / plain.norm():.3f}"


def averages() -> Iterator[tuple[str, str]]:
    """Yield what is left of the initial weights in either moving average, and the updates until both decay alike."""
    for name, start in (("fairlit", 1), ("diffusers' EMAModel", 0)):
        left = 1.0
        for update in range(10):
            step = update + start
            left *= 0.0 if step == 0 else min(0.996, (1 + step) / (10 + step))
        yield f"share of the initial weights after 10 updates, {name}", f"{left:.2e}"


@torch.no_grad()
def of_faces(images: int) -> Iterator[tuple[str, str]]:
    """Yield the rows about faces of the embedded model."""
    with tempfile.TemporaryDirectory() as folder:
        made = made_images(Path(folder) / "images", images)
    faces = load_detector(detection=FaceDetection(min_size=20, scale=2.0))(made).largest()
    yield "images with a face", f"{len(faces.boxes) / len(made):.1%}"
    yield from boxes_and_borders(made, faces)
    yield from mirrored_features(made, faces)


def main(words: list[str] | None = None) -> None:
    """Read the command line and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=24, help="number of images per prompt")
    parser.add_argument("--batches", type=int, default=40, help="number of batches of random probabilities")
    arguments = parser.parse_args(words)
    print("| what | size |\n| --- | ---: |")
    for rows in (
        unsure_faces(("gender",), 24, arguments.batches),
        unsure_faces(("gender", "race"), 32, arguments.batches),
        of_faces(arguments.images),
        resizing(),
        draws(),
        empty_prompt(),
        averages(),
    ):
        for name, size in rows:
            print(f"| {name} | {size} |", flush=True)


if __name__ == "__main__":
    main()
