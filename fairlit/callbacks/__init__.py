"""What happens around training: evaluation, pictures, progress, and files."""

from fairlit.callbacks.adaptor_checkpoint import AdaptorCheckpoint
from fairlit.callbacks.classifier_export import ClassifierExport
from fairlit.callbacks.face_evaluation import FaceEvaluation
from fairlit.callbacks.image_writer import ImageWriter
from fairlit.callbacks.progress import BiasProgressBar

__all__ = ["AdaptorCheckpoint", "BiasProgressBar", "ClassifierExport", "FaceEvaluation", "ImageWriter"]
