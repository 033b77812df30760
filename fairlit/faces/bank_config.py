"""Which pictures fill a face bank."""

# Annotations are evaluated here: jsonargparse would import what postponed ones name.

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from fairlit.faces.detection import FaceDetection


@dataclass(frozen=True, kw_only=True)
class FaceBankConfig:
    """Settings of `fairlit face-bank`; see `fairlit.faces.bank_building.build_face_bank`.

    Args:
        folder: folder of pictures, at any depth
        embedder: folder of a classifier, or file of InceptionResnetV1's weights; the same as `models.face_embedder`
        out: file of the bank; one that is there is replaced with --overwrite alone
        overwrite: replace the bank that is there
        download: training set of InceptionResnetV1's weights, which are fetched to --embedder first
        detect: find the largest face of each picture and crop it; pictures are aligned faces by default
        detection: how MTCNN looks for faces, with --detect
        batch_size: number of pictures embedded together
        device: device of the models: auto (a GPU if there is one), cpu, cuda, cuda:1, mps
    """

    heading: ClassVar[str] = "Face bank"

    folder: str | None = None
    embedder: str | None = None
    out: str | None = None
    overwrite: bool = False
    download: Literal["vggface2", "casia-webface"] | None = None
    detect: bool = False
    detection: FaceDetection = field(default_factory=FaceDetection)
    batch_size: int = 64
    device: str = "auto"
