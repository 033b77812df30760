"""Faces in images: where they are, what they look like, how they are perceived."""

from fairlit.faces.bank import FaceBank
from fairlit.faces.classifier import AttributeClassifier
from fairlit.faces.classifier_config import ClassifierConfig, CropSettings
from fairlit.faces.classifier_files import load_classifier
from fairlit.faces.crops import align_faces, crop_faces
from fairlit.faces.detector import FaceDetector, Faces
from fairlit.faces.embedding import ClassifierEmbedder, FaceEmbedder, InceptionResnetEmbedder
from fairlit.faces.face_classifier import FaceClassifier

__all__ = [
    "AttributeClassifier",
    "ClassifierConfig",
    "ClassifierEmbedder",
    "CropSettings",
    "FaceBank",
    "FaceClassifier",
    "FaceDetector",
    "FaceEmbedder",
    "Faces",
    "InceptionResnetEmbedder",
    "align_faces",
    "crop_faces",
    "load_classifier",
]
