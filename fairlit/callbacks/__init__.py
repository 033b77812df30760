"""What happens around training: evaluation, pictures, progress, and files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fairlit.lazy import lazy_exports

if TYPE_CHECKING:
    from fairlit.callbacks.adaptor_checkpoint import AdaptorCheckpoint as AdaptorCheckpoint
    from fairlit.callbacks.classifier_export import ClassifierExport as ClassifierExport
    from fairlit.callbacks.face_evaluation import FaceEvaluation as FaceEvaluation
    from fairlit.callbacks.image_writer import ImageWriter as ImageWriter
    from fairlit.callbacks.progress import BiasProgressBar as BiasProgressBar

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "AdaptorCheckpoint": "fairlit.callbacks.adaptor_checkpoint",
        "BiasProgressBar": "fairlit.callbacks.progress",
        "ClassifierExport": "fairlit.callbacks.classifier_export",
        "FaceEvaluation": "fairlit.callbacks.face_evaluation",
        "ImageWriter": "fairlit.callbacks.image_writer",
    },
)
