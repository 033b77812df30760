"""What finetuning minimises: alignment, image preservation, face realism."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fairlit.lazy import lazy_exports

if TYPE_CHECKING:
    from fairlit.losses.alignment import AlignmentLoss as AlignmentLoss
    from fairlit.losses.preservation import ImagePreservationLoss as ImagePreservationLoss
    from fairlit.losses.realism import FaceRealismLoss as FaceRealismLoss

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "AlignmentLoss": "fairlit.losses.alignment",
        "FaceRealismLoss": "fairlit.losses.realism",
        "ImagePreservationLoss": "fairlit.losses.preservation",
    },
)
