"""What a finetuning run loads, and how somebody brings models of their own."""

from __future__ import annotations

from dataclasses import replace

from finetuning import finetuner, miniature_models
from stand_ins import MiddleFaces
from torch import nn

from fairlit.faces import FaceDetection, FaceDetectorBase
from fairlit.training import FairFinetuner, Sampling
from fairlit.training.finetuning.frozen_models import FrozenModels


class Own(FrozenModels):
    """A detector of its own, and no encoders."""

    def load_detector(self) -> FaceDetectorBase:
        return MiddleFaces()

    def load_encoders(self) -> dict[str, nn.Module]:
        return {}


def test_nothing_but_the_backbone_waits_for_an_adaptor() -> None:
    models = FrozenModels(miniature_models(), FaceDetection(scale=2.0), Sampling())
    assert set(models.encoders) == {"clip", "dino"}
    assert models.audit_classifier is not models.classifier
    judges = (
        models.detector,
        models.classifier,
        models.audit_classifier,
        models.encoders,
        models.embedder,
        models.bank,
    )
    for judge in judges:
        assert judge is not None
        assert not any(parameter.requires_grad for parameter in judge.parameters())


def test_a_list_of_classifiers_is_trained_against_as_one() -> None:
    bare = miniature_models()
    several = replace(bare, classifier=[bare.classifiers[0], bare.audit_classifier], clip=None, dino=None)
    models = FrozenModels(several, FaceDetection(scale=2.0), Sampling())
    assert len(models.classifier.members) == 2
    assert models.classifier.frozen
    assert not any(parameter.requires_grad for parameter in models.classifier.parameters())
    assert len(models.audit_classifier.members) == 1


def test_hooks_replace_what_is_loaded() -> None:
    bare = replace(miniature_models(), audit_classifier=None, face_embedder=None, face_bank=None)

    class OwnFinetuner(FairFinetuner):
        def configure_models(self) -> FrozenModels:
            return Own(self.models, self.detection, self.sampling)

    module = finetuner()
    module = OwnFinetuner(bare, module.adaptor)
    module.configure_model()
    assert isinstance(module.frozen.detector, MiddleFaces)
    assert module.references.models.detector is module.frozen.detector
    assert module.objective.encoders == {}
    assert module.audit_classifier is module.frozen.classifier
    assert module.frozen.embedder is None
    assert module.frozen.bank is None
    assert not module.objective.embeds_faces
