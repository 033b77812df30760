"""What finetuning minimises: alignment, image preservation, face realism."""

from fairlit.losses.alignment import AlignmentLoss
from fairlit.losses.preservation import ImagePreservationLoss
from fairlit.losses.realism import FaceRealismLoss

__all__ = ["AlignmentLoss", "FaceRealismLoss", "ImagePreservationLoss"]
