"""The finetuning objective and its gradient with respect to the final latents, a few images at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from fairlit.faces import FaceClassifier, Faces
from fairlit.faces.bank import FaceBank
from fairlit.faces.detection import FaceSelection
from fairlit.faces.embedding import FaceEmbedder
from fairlit.faces.observation import Observation
from fairlit.faces.shielding import shield_neighbours
from fairlit.functional.alignment.assignment import Assignment
from fairlit.functional.boxes.face_matching import match_faces, take_partners
from fairlit.losses import AlignmentLoss, FaceRealismLoss, ImagePreservationLoss
from fairlit.losses.preservation import FaceChanges
from fairlit.training.finetuning.assignment import TargetLabels
from fairlit.training.finetuning.decoded_images import DecodedImages, Decoder


@dataclass(frozen=True)
class ReferenceDescription:
    """Reference images (of the original model for the same noise), as far as losses need them.

    Attributes:
        observation: faces in them and how they are perceived.
        features: encoder -> normalised features [N, D].
        embeddings: normalised embeddings of the faces [F, E]; None without face realism.
    """

    observation: Observation
    features: dict[str, Tensor]
    embeddings: Tensor | None = None


@dataclass
class ObjectiveValue:
    """Value of the objective, its parts, and its gradient.

    Attributes:
        gradient: dL/dx_S [n, C, h, w].
        parts: name -> detached value; their sum is the loss.
    """

    gradient: Tensor
    parts: dict[str, Tensor] = field(default_factory=dict)

    @property
    def loss(self) -> Tensor:
        """L, a detached scalar."""
        return torch.stack(list(self.parts.values())).sum()


class Objective:
    """L = L_align + w_img L_image + w_face L_face (Shen et al., ICLR 2024, section 4).

    Args:
        decode: function from latents to images in [0, 1].
        classifier: attribute classifier that is trained against; of several, the mean of their losses.
        encoders: name -> image encoder, images to normalised features.
        embedder: face embedder, with `bank`; None: no face realism.
        bank: embeddings of real faces.
        alignment: settings of the first term.
        preservation: settings of the second term.
        realism: settings of the third term.
        faces: faces of an image that count. `largest` takes the largest faces of an image and of its reference for the
            same; `all` matches faces by their places and keeps the gradient of one from its neighbours.
    """

    def __init__(
        self,
        *,
        decode: Decoder,
        classifier: FaceClassifier,
        encoders: Mapping[str, nn.Module],
        embedder: FaceEmbedder | None,
        bank: FaceBank | None,
        alignment: AlignmentLoss,
        preservation: ImagePreservationLoss,
        realism: FaceRealismLoss,
        faces: FaceSelection = "largest",
    ) -> None:
        self.decode, self.classifier, self.encoders = decode, classifier, encoders
        self.embedder, self.bank = embedder, bank
        self.alignment, self.preservation, self.realism = alignment, preservation, realism
        self.faces = faces

    @property
    def preserves(self) -> bool:
        """Whether the image preservation term is on."""
        return self.preservation.weight > 0 and len(self.encoders) > 0

    @property
    def embeds_faces(self) -> bool:
        """Whether the face realism term is on."""
        return self.realism.weight > 0 and self.embedder is not None

    def features(self, images: Tensor) -> dict[str, Tensor]:
        """Return the features of every encoder for images [n, 3, H, W]."""
        return {name: encoder(images) for name, encoder in self.encoders.items()}

    def describe_references(self, images: Tensor, observation: Observation) -> ReferenceDescription:
        """Return what the losses will need of reference images [n, 3, H, W]."""
        embeddings = None
        if self.embedder is not None and self.embeds_faces:
            embeddings = self.embedder.embed(images, observation.faces)
        return ReferenceDescription(observation, self.features(images) if self.preserves else {}, embeddings)

    def decoded(self, latents: Tensor, batch_size: int) -> DecodedImages:
        """Return the images of final latents [N, C, h, w], for observing them and for `differentiate`.

        Args:
            latents: final latents.
            batch_size: number of images that are decoded and judged together.
        """
        return DecodedImages(self.decode, latents, batch_size)

    def differentiate(
        self,
        images: DecodedImages,
        observation: Observation,
        references: ReferenceDescription,
        *,
        target_labels: TargetLabels,
        loss_scale: float = 1.0,
    ) -> ObjectiveValue:
        """Return value and gradient of the loss of n images.

        Args:
            images: what `decoded` gave.
            observation: faces in the images.
            references: descriptions of the reference images, of the same prompts and noise.
            target_labels: classes that the faces are to become.
            loss_scale: factor that keeps gradients of half precision from vanishing on the way; undone at the end.
        """
        value = ObjectiveValue(torch.zeros_like(images.latents))
        known = self._known(observation, references)
        for part in images.parts():
            with torch.enable_grad():
                losses = self._losses(
                    part.images, part.place, observation, references=references, known=known, targets=target_labels
                )
                total = torch.stack(list(losses.values())).sum() * loss_scale
            value.gradient[part.place] = torch.autograd.grad(total, part.latents)[0] / loss_scale
            for name, loss in losses.items():
                value.parts[name] = value.parts.get(name, 0.0) + loss.detach()
        return value

    def _known(self, observation: Observation, references: ReferenceDescription) -> _KnownFaces:
        """Return what is known of the same faces in the reference images."""
        before = references.observation
        if self.faces == "largest":
            partners = before.spread(torch.arange(len(before.faces), device=before.faces.boxes.device), -1)
            partners = partners[observation.faces.image_index]
        else:
            faces, others = observation.faces, before.faces
            partners = match_faces(faces.image_index, faces.boxes, others.image_index, other_boxes=others.boxes)
        return _KnownFaces(
            take_partners(before.faces.boxes, partners, 0.0),
            {name: take_partners(rows.argmax(dim=1), partners, -1) for name, rows in before.probabilities.items()},
            {name: take_partners(rows.amax(dim=1), partners, 0.0) for name, rows in before.probabilities.items()},
            None if references.embeddings is None else take_partners(references.embeddings, partners, 0.0),
        )

    def _losses(
        self,
        images: Tensor,
        part: slice,
        observation: Observation,
        *,
        references: ReferenceDescription,
        known: _KnownFaces,
        targets: TargetLabels,
    ) -> dict[str, Tensor]:
        inside = (observation.faces.image_index >= part.start) & (observation.faces.image_index < part.stop)
        faces, known = observation.faces.images(part.start, part.stop), known.select(inside)
        assignment = Assignment(targets.labels, targets.confidence).select(inside)
        labels = self.preservation.settle(assignment, self.alignment.threshold)
        weights = targets.weights[inside] * (targets.scale / max(targets.total_weight, 1e-12))
        alone = (images, faces) if self.faces == "largest" else shield_neighbours(images, faces)
        crops = observation.crops or observation.faces
        cropped = replace(alone[1], boxes=crops.boxes[inside], landmarks=crops.landmarks[inside])
        losses = {"alignment": self._alignment(alone[0], cropped, assignment, weights)}
        if self.preserves:
            changes = FaceChanges(
                faces.image_index, faces.boxes, known.boxes, labels, {name: known.classes[name] for name in labels}
            )
            free = self.preservation.free_faces(images, changes)
            kept = {name: rows[part] for name, rows in references.features.items()}
            share = targets.scale / targets.num_images
            losses["image"] = self.preservation(self.features(free), kept, changes) * share
        if self.embeds_faces:
            losses["face"] = self._realism(*alone, labels, known, weights)
        return losses

    def _alignment(self, images: Tensor, faces: Faces, assignment: Assignment, weights: Tensor) -> Tensor:
        losses = []
        for classifier in self.classifier.members:
            logits = classifier.classify(images, faces)
            of_targets = {name: logits[name].float() for name in assignment.labels}
            losses.append(self.alignment(of_targets, assignment, weights))
        return torch.stack(losses).mean()

    def _realism(
        self, images: Tensor, faces: Faces, labels: dict[str, Tensor], known: _KnownFaces, weights: Tensor
    ) -> Tensor:
        assert self.embedder is not None
        assert self.bank is not None
        assert known.embeddings is not None
        keeps = self.realism.keeps_reference(
            target_labels=labels, reference_labels=known.classes, certainty=known.certainty
        )
        embeddings = self.embedder.embed(images, faces).float()
        nearest = self.bank.nearest(embeddings.detach())
        own = known.embeddings.to(nearest)
        return self.realism(embeddings, torch.where(keeps[:, None], own, nearest), weights)


@dataclass(frozen=True)
class _KnownFaces:
    """What is known of F faces in the reference images: nothing (zeros, class -1) of those that are not in them.

    Attributes:
        boxes: [F, 4].
        classes: attribute -> LongTensor [F], the most probable class.
        certainty: attribute -> [F], its probability.
        embeddings: [F, E]; None without face realism.
    """

    boxes: Tensor
    classes: dict[str, Tensor]
    certainty: dict[str, Tensor]
    embeddings: Tensor | None

    def select(self, chosen: Tensor) -> _KnownFaces:
        """Return those at a bool mask [F]."""
        return _KnownFaces(
            self.boxes[chosen],
            {name: rows[chosen] for name, rows in self.classes.items()},
            {name: rows[chosen] for name, rows in self.certainty.items()},
            None if self.embeddings is None else self.embeddings[chosen],
        )
