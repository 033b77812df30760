"""The models that finetuning uses: the one that is adapted, and those that look at its images."""

from __future__ import annotations

from torch import nn

from fairlit.diffusion import Backbone
from fairlit.faces import FaceClassifier, FaceDetectorBase
from fairlit.faces.bank import FaceBank
from fairlit.faces.classifier_files import load_classifier
from fairlit.faces.detection import FaceDetection
from fairlit.faces.detector_files import load_detector
from fairlit.faces.embedding import FaceEmbedder, load_embedder
from fairlit.faces.ensemble import ClassifierEnsemble
from fairlit.io.class_paths import ClassSpec
from fairlit.perception import ClipEncoder, DinoEncoder
from fairlit.training.finetuning.settings import Models, Sampling


class FrozenModels(nn.Module):
    """All models of a finetuning run, loaded when this is made; none of them has trainable weights of its own.

    A subclass overrides the `load_*` method of what it brings itself; `FairFinetuner.configure_models` names the
    subclass.

    Args:
        models: where the models come from.
        detection: settings of face detection.
        sampling: how images are generated.

    Attributes:
        backbone: text-to-image model, to which the adaptor is attached later.
        detector: face detector.
        classifier: attribute classifier that is trained against.
        audit_classifier: attribute classifier that judges validation and test; `classifier` where there is no other.
        encoders: name -> image encoder; `clip`, `dino` or neither.
        embedder: face embedder; None without face realism.
        bank: embeddings of real faces; None without face realism.
    """

    def __init__(self, models: Models, detection: FaceDetection, sampling: Sampling) -> None:
        super().__init__()
        self.models, self.detection, self.sampling = models, detection, sampling
        self.backbone = self.load_backbone()
        self.detector = self.load_detector()
        self.classifier = self.load_trained_against()
        audit_classifier = models.audit_classifier
        self.audit_classifier = self.load_classifier(audit_classifier) if audit_classifier else self.classifier
        self.encoders = nn.ModuleDict(self.load_encoders())
        self.embedder = self.load_embedder()
        self.bank = self.load_bank(self.embedder) if self.embedder is not None else None
        for module in (self.detector, self.audit_classifier, self.encoders, self.embedder, self.bank):
            if module is not None:
                module.requires_grad_(False)

    def load_backbone(self) -> Backbone:
        """Return a fresh copy of the model that is finetuned, as it came."""
        padding, solver = self.sampling.prompt_padding, self.sampling.solver
        return Backbone.load(self.models.backbone, padding, solver=solver)

    def load_detector(self) -> FaceDetectorBase:
        """Return what finds faces in images."""
        return load_detector(self.models.detector, self.detection, "models.detector")

    def load_classifier(self, spec: ClassSpec) -> FaceClassifier:
        """Return an attribute classifier, of `models.classifier` or `models.audit_classifier`."""
        return load_classifier(spec)

    def load_trained_against(self) -> FaceClassifier:
        """Return the classifier that `models.classifier` stands for: one, or several as one."""
        classifiers = [self.load_classifier(spec) for spec in self.models.classifiers]
        return classifiers[0] if len(classifiers) == 1 else ClassifierEnsemble(classifiers).freeze()

    def load_encoders(self) -> dict[str, nn.Module]:
        """Return the image encoders by name, those of image preservation and semantic similarity."""
        encoders: dict[str, nn.Module] = {}
        if self.models.clip:
            encoders["clip"] = ClipEncoder.load(self.models.clip)
        if self.models.dino:
            encoders["dino"] = DinoEncoder.load(self.models.dino)
        return encoders

    def load_embedder(self) -> FaceEmbedder | None:
        """Return the face embedder, or None without face realism."""
        return load_embedder(self.models.face_embedder) if self.models.face_embedder else None

    def load_bank(self, embedder: FaceEmbedder) -> FaceBank | None:
        """Return the bank of embeddings that `embedder` made of real faces, or None without face realism."""
        return FaceBank.load(self.models.face_bank, embedder) if self.models.face_bank else None
