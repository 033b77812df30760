from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from torch import Tensor
from torch.nn.functional import cosine_similarity, cross_entropy
from transformers import CLIPConfig, CLIPModel, Dinov2Config, Dinov2Model

from fairlit.diffusion import Backbone
from fairlit.faces import AttributeClassifier, ClassifierConfig, Faces
from fairlit.faces.bank import FaceBank
from fairlit.faces.embedding import ClassifierEmbedder
from fairlit.faces.ensemble import ClassifierEnsemble
from fairlit.faces.jitter import jitter_faces
from fairlit.faces.observation import Observation
from fairlit.functional.alignment.assignment import Assignment
from fairlit.losses import AlignmentLoss, FaceRealismLoss, ImagePreservationLoss
from fairlit.perception import ClipEncoder, DinoEncoder
from fairlit.perception.pixels import PixelNormalizer
from fairlit.training.finetuning.objective import Objective, ObjectiveValue, ReferenceDescription, TargetLabels

CLASSES = {"gender": ("female", "male"), "age": ("young", "middle", "old")}
TINY = {"stages_repeats": [1, 1, 1], "stages_out_channels": [8, 16, 16, 32, 32]}
IMAGE_LOSS_SCALE, FACE_GRADIENT_SCALE = {"gender": 0.2, "age": 0.6}, {"gender": 0.3, "age": 0.5}
IMAGES, THRESHOLD, W_ALIGN, W_IMAGE, W_FACE = 6, 0.8, 1.5, 8.0, 0.5

# Image: 0 nothing changes, 1 gender changes, 2 age changes and is no confident target, 3 no face now,
# 4 no face in the original, 5 nothing changes.
LABELS = {"gender": [0, 1, 1, -1, 0, 1], "age": [2, 0, 1, -1, 1, 0]}
CONFIDENCE = {"gender": [0.9, 0.95, 0.85, 0.0, 0.8, 1.0], "age": [0.8, 0.9, 0.5, 0.0, 0.79, 0.9]}
ORIGINAL_CLASSES = {"gender": [0, 0, 1, 0, -1, 1], "age": [2, 0, 2, 1, -1, 0]}
ORIGINAL_CERTAINTY = {"gender": [0.9, 0.9, 0.9, 0.9, 0.0, 0.8], "age": [0.85, 0.9, 0.9, 0.9, 0.0, 0.9]}
KEEPS = [True, False, False, False, False, True]


def faces_in(present: list[int], shift: float) -> Faces:
    """One face in each of these images, at a place of its own."""
    corner = torch.tensor([[8.0 + 3 * image + shift, 10.0 + 2 * image] for image in present]).reshape(-1, 2)
    boxes = torch.cat([corner, corner + torch.tensor([24.0, 28.0])], dim=1)
    count = len(present)
    return Faces(torch.tensor(present).long(), boxes, torch.ones(count), torch.zeros(count, 5, 2), IMAGES)


def observed(faces: Faces, classes: dict[str, list[int]], certainty: dict[str, list[float]]) -> Observation:
    probabilities = {}
    for name, names in CLASSES.items():
        rows = []
        for image in faces.image_index.tolist():
            top = certainty[name][image]
            row = [(1 - top) / (len(names) - 1)] * len(names)
            row[classes[name][image]] = top
            rows.append(row)
        probabilities[name] = torch.tensor(rows).reshape(-1, len(names))
    return Observation(faces, probabilities)


@pytest.fixture
def objective(tiny_pipeline: StableDiffusionPipeline, tmp_path: Path) -> Objective:
    torch.manual_seed(0)
    config = ClassifierConfig(CLASSES, "shufflenet_v2", TINY, 32)
    AttributeClassifier(config).save(tmp_path / "embedder")
    embedder = ClassifierEmbedder(str(tmp_path / "embedder"))
    tower = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    clip_config = CLIPConfig(
        text_config={**tower, "vocab_size": 99},
        vision_config={**tower, "image_size": 32, "patch_size": 16},
        projection_dim=12,
    )
    dino_config = Dinov2Config(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=32, patch_size=16)
    pixels = PixelNormalizer(32, (0.5,) * 3, (0.5,) * 3)
    encoders = {
        "clip": ClipEncoder(CLIPModel(clip_config).eval(), tiny_pipeline.tokenizer, pixels).double(),
        "dino": DinoEncoder(Dinov2Model(dino_config).eval(), pixels).double(),
    }
    backbone = Backbone(tiny_pipeline).double()
    return Objective(
        decode=backbone.decode,
        classifier=AttributeClassifier(config).freeze().double(),
        encoders=encoders,
        embedder=embedder.double(),
        bank=FaceBank(torch.randn(9, embedder.dim), embedder.identifier),
        alignment=AlignmentLoss(THRESHOLD, weight=W_ALIGN),
        preservation=ImagePreservationLoss(W_IMAGE, IMAGE_LOSS_SCALE, FACE_GRADIENT_SCALE),
        realism=FaceRealismLoss(W_FACE),
    )


class Case:
    """Six images, some without a face before or after."""

    def __init__(self, objective: Objective, present: list[int] | None = None) -> None:
        present = [0, 1, 2, 4, 5] if present is None else present
        torch.manual_seed(1)
        self.latents = torch.randn(IMAGES, 4, 16, 16, dtype=torch.float64)
        seen = {name: [max(label, 0) for label in labels] for name, labels in LABELS.items()}
        self.observation = observed(faces_in(present, 0.0), seen, ORIGINAL_CERTAINTY)
        original = observed(faces_in([0, 1, 2, 3, 5], 6.0), ORIGINAL_CLASSES, ORIGINAL_CERTAINTY)
        with torch.no_grad():
            images = objective.decode(torch.randn(IMAGES, 4, 16, 16, dtype=torch.float64))
            self.references = objective.describe_references(images, original)
        self.target_labels = TargetLabels(
            {name: torch.tensor([rows[image] for image in present]).long() for name, rows in LABELS.items()},
            {name: torch.tensor([rows[image] for image in present]) for name, rows in CONFIDENCE.items()},
            torch.ones(len(present)),
            IMAGES,
            float(len(present)),
        )

    def solve(self, objective: Objective, batch_size: int, target_labels: TargetLabels | None = None) -> ObjectiveValue:
        target_labels = target_labels or self.target_labels
        images = objective.decoded(self.latents, batch_size)
        return objective.differentiate(images, self.observation, self.references, target_labels=target_labels)


def one_shot(
    objective: Objective, case: Case, unsure: tuple[tuple[int, str], ...] = ()
) -> tuple[dict[str, float], Tensor]:
    """Parts and gradient of the whole loss, image by image, as Shen et al. (ICLR 2024, section 4) write it.

    `unsure` images and attributes have no confident target and count as ones that must change.
    """
    leaf = case.latents.clone().requires_grad_()
    images = objective.decode(leaf)
    align, face, image_term = (torch.zeros((), dtype=torch.float64) for _ in range(3))
    scale = torch.ones(IMAGES, 1, 64, 64, dtype=torch.float64)
    faces, original_faces = case.observation.faces, case.references.observation.faces
    for image in range(IMAGES):
        here = faces.select(faces.image_index == image)
        changing = [
            name
            for name in CLASSES
            if not len(here) or (image, name) in unsure or LABELS[name][image] != ORIGINAL_CLASSES[name][image]
        ]
        image_loss_scale = min((IMAGE_LOSS_SCALE[name] for name in changing), default=1.0)
        face_gradient_scale = min((FACE_GRADIENT_SCALE[name] for name in changing), default=1.0)
        for name, encoder in objective.encoders.items():
            features = encoder(images[image : image + 1])[0]
            image_term = image_term + image_loss_scale * (
                1 - cosine_similarity(features, case.references.features[name][image], 0)
            )
        before = original_faces.select(original_faces.image_index == image)
        if len(here) and len(before):
            x1, y1 = torch.maximum(here.boxes[0, :2], before.boxes[0, :2]).round().int().tolist()
            x2, y2 = torch.minimum(here.boxes[0, 2:], before.boxes[0, 2:]).round().int().tolist()
            scale[image, :, y1:y2, x1:x2] = face_gradient_scale
        if not len(here):
            continue
        for name, logits in objective.classifier.classify(images, here).items():
            if CONFIDENCE[name][image] >= THRESHOLD and (image, name) not in unsure:
                align = align + cross_entropy(logits, torch.tensor([LABELS[name][image]]))
        assert objective.embedder is not None
        assert objective.bank is not None
        embedding = objective.embedder.embed(images, here)[0]
        nearest = objective.bank.embeddings[(objective.bank.embeddings.double() @ embedding.detach()).argmax()]
        own = (
            case.references.embeddings[original_faces.image_index == image]
            if KEEPS[image] and not changing
            else nearest[None]
        )
        face = face + 1 - cosine_similarity(embedding, own[0].double(), 0)
    count = max(len(faces), 1)
    align, face, image_term = W_ALIGN * align / count, W_FACE * face / count, W_IMAGE * image_term / IMAGES
    gradient = scale * torch.autograd.grad(image_term, images, retain_graph=True)[0]
    if len(faces):
        gradient = gradient + torch.autograd.grad(align + face, images, retain_graph=True)[0]
    parts = {"alignment": align.item(), "image": image_term.item(), "face": face.item()}
    return parts, torch.autograd.grad(images, leaf, gradient)[0]


def test_of_several_classifiers_the_losses_are_averaged(objective: Objective) -> None:
    """Not the loss of their mean probability, which a sure member would satisfy alone."""
    case, one = Case(objective), objective.classifier
    torch.manual_seed(9)
    other = AttributeClassifier(ClassifierConfig(CLASSES, "shufflenet_v2", TINY, 32)).freeze().double()
    values = []
    for classifier in (one, other, ClassifierEnsemble([one, other])):
        objective.classifier = classifier
        values.append(case.solve(objective, 4))
    objective.classifier = one
    first, second, both = (value.parts["alignment"] for value in values)
    assert (first - second).abs() > 0.01
    torch.testing.assert_close(both, (first + second) / 2)
    torch.testing.assert_close(values[2].gradient, (values[0].gradient + values[1].gradient) / 2)


@pytest.mark.parametrize("batch_size", [1, 2, 4, 5, 6, 100])
def test_chunks_give_the_gradient_of_the_whole_loss(objective: Objective, batch_size: int) -> None:
    case = Case(objective)
    expected, gradient = one_shot(objective, case)
    assert min(expected.values()) > 0.01
    value = case.solve(objective, batch_size)
    assert {name: float(part) for name, part in value.parts.items()} == pytest.approx(expected, rel=1e-5)
    assert float(value.loss) == pytest.approx(sum(expected.values()), rel=1e-5)
    torch.testing.assert_close(value.gradient, gradient, rtol=1e-4, atol=1e-6 * float(gradient.abs().max()))
    assert not value.gradient.requires_grad
    assert not value.loss.requires_grad


@pytest.mark.parametrize("attribute", CLASSES)
def test_what_an_unsure_face_counts_as(objective: Objective, attribute: str) -> None:
    """Image 5 has all labels already; the published code frees it where it is unsure of one, `keep` does not."""
    case = Case(objective)
    sure = case.target_labels
    unsure = {name: rows.clone() for name, rows in sure.confidence.items()}
    unsure[attribute][-1] = THRESHOLD - 0.01
    case.target_labels = replace(sure, confidence=unsure)
    kept = case.solve(objective, 4)
    plain = case.solve(objective, 4, sure)
    for name in ("image", "face"):
        assert torch.equal(kept.parts[name], plain.parts[name])

    objective.preservation = replace(objective.preservation, unsure="change")
    # Image 2 is unsure of its age, which differs from the original's anyway; image 4 of the face that it had not.
    expected, gradient = one_shot(objective, case, ((5, attribute),))
    freed = case.solve(objective, 4)
    assert {name: float(part) for name, part in freed.parts.items()} == pytest.approx(expected, rel=1e-5)
    torch.testing.assert_close(freed.gradient, gradient, rtol=1e-4, atol=1e-6 * float(gradient.abs().max()))
    assert float(freed.parts["image"]) < float(kept.parts["image"])


def test_no_face_anywhere(objective: Objective) -> None:
    case = Case(objective, present=[])
    expected, gradient = one_shot(objective, case)
    value = case.solve(objective, 4)
    assert {name: float(part) for name, part in value.parts.items()} == pytest.approx(
        {**expected, "alignment": 0.0, "face": 0.0}, rel=1e-5
    )
    torch.testing.assert_close(value.gradient, gradient, rtol=1e-4, atol=1e-6 * float(gradient.abs().max()))


def test_without_encoders_and_faces_the_gradient_is_zero(objective: Objective) -> None:
    objective.encoders = {}
    value = Case(objective, present=[]).solve(objective, 2)
    assert set(value.parts) == {"alignment", "face"}
    assert float(value.loss) == 0
    assert torch.equal(value.gradient, torch.zeros_like(value.gradient))


def test_switched_off_parts_are_left_out(objective: Objective) -> None:
    objective.preservation = replace(objective.preservation, weight=0.0)
    objective.realism = replace(objective.realism, weight=0.0)
    case = Case(objective)
    assert case.references.features == {}
    assert case.references.embeddings is None
    assert set(case.solve(objective, 3).parts) == {"alignment"}


def test_alignment_only_where_confident(objective: Objective) -> None:
    objective.preservation = replace(objective.preservation, weight=0.0)
    objective.realism = replace(objective.realism, weight=0.0)
    case = Case(objective)
    unsure = [0.9, 0.79, 0.2, 0.8, 0.0]  # of images 0, 1, 2, 4, 5
    target_labels = replace(case.target_labels, confidence={name: torch.tensor(unsure) for name in CLASSES})
    gradient = case.solve(objective, 4, target_labels).gradient
    moved = [bool(rows.any()) for rows in gradient]
    assert moved == [True, False, False, False, True, False]  # the fourth has no face


def test_the_alignment_loss_alone_takes_its_crops_elsewhere(objective: Objective) -> None:
    case = Case(objective)
    found = case.solve(objective, 2)
    crops = jitter_faces(case.observation.faces, torch.linspace(-1, 1, 15).reshape(5, 3), 0.2)
    case.observation = replace(case.observation, crops=crops)
    moved = case.solve(objective, 2)
    assert all(torch.equal(moved.parts[name], found.parts[name]) for name in ("image", "face"))
    with torch.no_grad():
        logits = objective.classifier.classify(objective.decode(case.latents), crops)
    targets = case.target_labels
    assignment = Assignment(targets.labels, targets.confidence)
    rows = {name: logits[name].float() for name in targets.labels}
    expected = objective.alignment(rows, assignment, targets.weights / len(crops))
    assert float(moved.parts["alignment"]) == pytest.approx(float(expected), rel=2e-6)
    assert float(moved.parts["alignment"]) != pytest.approx(float(found.parts["alignment"]), rel=1e-5)


@pytest.mark.parametrize("term", ["alignment", "image", "face"])
def test_two_ranks_average_to_the_whole(objective: Objective, term: str) -> None:
    """Each rank has every second image, and a loss that is scaled by the number of ranks."""
    case = Case(objective)
    whole = case.solve(objective, 6)
    mean = torch.zeros(())
    for number in range(2):
        mine = torch.arange(number, IMAGES, 2)
        own = case.observation.faces.image_index % 2 == number
        embeddings = case.references.embeddings
        assert embeddings is not None
        value = objective.differentiate(
            objective.decoded(case.latents[mine], 2),
            every_second(case.observation, number),
            ReferenceDescription(
                every_second(case.references.observation, number),
                {name: rows[mine] for name, rows in case.references.features.items()},
                embeddings[case.references.observation.faces.image_index % 2 == number],
            ),
            target_labels=replace(
                case.target_labels,
                labels={name: rows[own] for name, rows in case.target_labels.labels.items()},
                confidence={name: rows[own] for name, rows in case.target_labels.confidence.items()},
                weights=case.target_labels.weights[own],
                scale=2.0,
            ),
        )
        mean = mean + value.parts[term] / 2
        scale = float(whole.gradient.abs().max())
        torch.testing.assert_close(value.gradient / 2, whole.gradient[mine], rtol=1e-4, atol=1e-6 * scale)
    assert float(mean) == pytest.approx(float(whole.parts[term]), rel=1e-5)


def every_second(observation: Observation, number: int) -> Observation:
    """What one of two ranks sees."""
    mine = observation.faces.image_index % 2 == number
    chosen = observation.faces.select(mine)
    faces = replace(chosen, image_index=chosen.image_index // 2, num_images=IMAGES // 2)
    return Observation(faces, {name: rows[mine] for name, rows in observation.probabilities.items()})


def test_gradient_inside_the_overlap_is_scaled_against_that_outside(objective: Objective) -> None:
    """With the decoder left out, the latents are the images: the same loss with and without freed faces."""
    objective.realism = replace(objective.realism, weight=0.0)
    objective.alignment = replace(objective.alignment, weight=0.0)
    case = Case(objective)
    objective.decode = torch.nn.Identity()
    case.latents = torch.rand(IMAGES, 3, 64, 64, dtype=torch.float64)
    freed = case.solve(objective, 6).gradient
    objective.preservation = replace(objective.preservation, face_gradient_scale=dict.fromkeys(CLASSES, 1.0))
    plain = case.solve(objective, 6).gradient
    expected = plain.clone()
    # Face now: x from 8 + 3i to 32 + 3i, y from 10 + 2i to 38 + 2i; in the original 6 pixels further to the right.
    for image, factor in ((1, FACE_GRADIENT_SCALE["gender"]), (2, FACE_GRADIENT_SCALE["age"])):
        expected[image, :, 10 + 2 * image : 38 + 2 * image, 14 + 3 * image : 32 + 3 * image] *= factor
    assert not torch.equal(expected, plain)
    torch.testing.assert_close(freed, expected, rtol=1e-6, atol=0)


def test_one_face_an_image_is_the_same_whoever_counts(objective: Objective) -> None:
    """Old and new face overlap, so that they are matched."""
    case = Case(objective)
    largest = case.solve(objective, 4)
    objective.faces = "all"
    everyone = case.solve(objective, 4)
    assert {name: float(part) for name, part in everyone.parts.items()} == pytest.approx(
        {name: float(part) for name, part in largest.parts.items()}
    )
    torch.testing.assert_close(everyone.gradient, largest.gradient)


class Groups:
    """Four images: three faces, none, one that the original lacks, two; matched across places."""

    WHERE = (0, 0, 0, 2, 3, 3)
    LABELS = (1, 0, 1, 1, 1, 1)
    ORIGINAL_WHERE = (0, 0, 0, 1, 3, 3)
    ORIGINAL = (0, 0, 1, 0, 1, 1)  # classes
    PARTNERS = (1, 0, 2, None, 4, 5)
    WEIGHTS = (1 / 3, 1 / 3, 1 / 3, 1.0, 0.5, 0.5)

    def __init__(self, objective: Objective) -> None:
        torch.manual_seed(2)
        self.latents = torch.rand(4, 3, 64, 64, dtype=torch.float64)
        corners = [[0.0, 0.0], [24.0, 0.0], [44.0, 0.0], [20.0, 20.0], [2.0, 30.0], [30.0, 30.0]]
        before = [[25.0, 0.0], [1.0, 0.0], [45.0, 1.0], [9.0, 9.0], [2.0, 31.0], [31.0, 30.0]]
        self.boxes, self.original_boxes = self._boxes(corners), self._boxes(before)
        self.observation = self._observation(self.WHERE, self.boxes, self.LABELS)
        original = self._observation(self.ORIGINAL_WHERE, self.original_boxes, self.ORIGINAL)
        with torch.no_grad():
            images = torch.rand(4, 3, 64, 64, dtype=torch.float64)
            self.references = objective.describe_references(images, original)
        labels = torch.tensor(self.LABELS)
        self.target_labels = TargetLabels(
            {"gender": labels}, {"gender": torch.full((6,), 0.9)}, torch.tensor(self.WEIGHTS), 4, sum(self.WEIGHTS)
        )

    def solve(self, objective: Objective, batch_size: int) -> ObjectiveValue:
        images = objective.decoded(self.latents, batch_size)
        return objective.differentiate(images, self.observation, self.references, target_labels=self.target_labels)

    @staticmethod
    def _boxes(corners: list[list[float]]) -> Tensor:
        low = torch.tensor(corners)
        return torch.cat([low, low + 18.0], dim=1)

    @staticmethod
    def _observation(where: tuple[int, ...], boxes: Tensor, classes: tuple[int, ...]) -> Observation:
        faces = Faces(torch.tensor(where), boxes, torch.ones(6), torch.zeros(6, 5, 2), 4)
        sure = torch.nn.functional.one_hot(torch.tensor(classes), 2) * 0.8 + 0.1
        return Observation(faces, {"gender": sure})


def test_losses_of_groups_by_a_loop(objective: Objective) -> None:
    """Every face apart, with its own partner in the original image; the decoder is left out."""
    objective.faces = "all"
    objective.decode = torch.nn.Identity()
    case = Groups(objective)
    value = case.solve(objective, 3)
    assert objective.embedder is not None
    assert objective.bank is not None
    assert case.references.embeddings is not None
    align, real = 0.0, 0.0
    factors = [1.0] * 4
    for face, image in enumerate(case.WHERE):
        here = case.observation.faces.select(torch.tensor([face]))
        logits = objective.classifier.classify(case.latents, here)["gender"]
        weight = case.WEIGHTS[face] / sum(case.WEIGHTS)
        align += W_ALIGN * weight * float(cross_entropy(logits, torch.tensor([case.LABELS[face]])))
        embedding = objective.embedder.embed(case.latents, here)[0].float()
        partner = case.PARTNERS[face]
        keeps = partner is not None and case.ORIGINAL[partner] == case.LABELS[face]
        target = (
            objective.bank.nearest(embedding[None])[0] if not keeps else case.references.embeddings[partner].float()
        )
        real += W_FACE * weight * (1 - float(cosine_similarity(embedding, target.float(), 0)))
        factors[image] = min(factors[image], 1.0 if keeps else IMAGE_LOSS_SCALE["gender"])
    factors[1] = IMAGE_LOSS_SCALE["gender"]  # no face
    with torch.no_grad():
        image_term = sum(
            W_IMAGE * factor / 4 * (1 - float(cosine_similarity(encoder(case.latents)[image], rows[image], 0)))
            for image, factor in enumerate(factors)
            for encoder, rows in zip(objective.encoders.values(), case.references.features.values(), strict=True)
        )
    assert factors == [IMAGE_LOSS_SCALE["gender"], IMAGE_LOSS_SCALE["gender"], IMAGE_LOSS_SCALE["gender"], 1.0]
    assert float(value.parts["alignment"]) == pytest.approx(align, rel=1e-5)
    assert float(value.parts["face"]) == pytest.approx(real, rel=1e-4)
    assert float(value.parts["image"]) == pytest.approx(image_term, rel=1e-5)
    whole = case.solve(objective, 4)
    torch.testing.assert_close(value.gradient, whole.gradient)
    assert value.gradient.isfinite().all()


def test_only_pairs_that_must_change_are_freed(objective: Objective) -> None:
    objective.faces = "all"
    objective.decode = torch.nn.Identity()
    objective.alignment = replace(objective.alignment, weight=0.0)
    objective.realism = replace(objective.realism, weight=0.0)
    case = Groups(objective)
    freed = case.solve(objective, 4).gradient
    objective.preservation = replace(objective.preservation, face_gradient_scale=dict.fromkeys(CLASSES, 1.0))
    plain = case.solve(objective, 4).gradient
    expected = plain.clone()
    for face, partner in enumerate(case.PARTNERS):
        if partner is not None and case.ORIGINAL[partner] != case.LABELS[face]:
            low = torch.maximum(case.boxes[face, :2], case.original_boxes[partner, :2]).int().tolist()
            high = torch.minimum(case.boxes[face, 2:], case.original_boxes[partner, 2:]).int().tolist()
            expected[case.WHERE[face], :, low[1] : high[1], low[0] : high[0]] *= FACE_GRADIENT_SCALE["gender"]
    assert not torch.equal(expected, plain)
    torch.testing.assert_close(freed, expected, rtol=1e-6, atol=0)
