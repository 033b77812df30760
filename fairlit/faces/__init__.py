"""Faces in images: where they are, what they look like, how they are perceived."""

from typing import TYPE_CHECKING

from fairlit.lazy import lazy_exports

if TYPE_CHECKING:
    from fairlit.faces.bank import FaceBank as FaceBank
    from fairlit.faces.classifier import AttributeClassifier as AttributeClassifier
    from fairlit.faces.classifier_config import ClassifierConfig as ClassifierConfig
    from fairlit.faces.classifier_config import CropSettings as CropSettings
    from fairlit.faces.classifier_files import load_classifier as load_classifier
    from fairlit.faces.crops import align_faces as align_faces
    from fairlit.faces.crops import crop_faces as crop_faces
    from fairlit.faces.detection import FaceDetection as FaceDetection
    from fairlit.faces.detection import FaceSelection as FaceSelection
    from fairlit.faces.detector import FaceDetector as FaceDetector
    from fairlit.faces.detector import FaceDetectorBase as FaceDetectorBase
    from fairlit.faces.detector import Faces as Faces
    from fairlit.faces.detector_files import load_detector as load_detector
    from fairlit.faces.embedding import ClassifierEmbedder as ClassifierEmbedder
    from fairlit.faces.embedding import FaceEmbedder as FaceEmbedder
    from fairlit.faces.embedding import InceptionResnetEmbedder as InceptionResnetEmbedder
    from fairlit.faces.face_classifier import FaceClassifier as FaceClassifier

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "AttributeClassifier": "fairlit.faces.classifier",
        "ClassifierConfig": "fairlit.faces.classifier_config",
        "ClassifierEmbedder": "fairlit.faces.embedding",
        "CropSettings": "fairlit.faces.classifier_config",
        "FaceBank": "fairlit.faces.bank",
        "FaceClassifier": "fairlit.faces.face_classifier",
        "FaceDetection": "fairlit.faces.detection",
        "FaceDetector": "fairlit.faces.detector",
        "FaceDetectorBase": "fairlit.faces.detector",
        "FaceEmbedder": "fairlit.faces.embedding",
        "FaceSelection": "fairlit.faces.detection",
        "Faces": "fairlit.faces.detector",
        "InceptionResnetEmbedder": "fairlit.faces.embedding",
        "align_faces": "fairlit.faces.crops",
        "crop_faces": "fairlit.faces.crops",
        "load_classifier": "fairlit.faces.classifier_files",
        "load_detector": "fairlit.faces.detector_files",
    },
)
