"""Pictures with faces: one real photograph that comes with matplotlib, cut and scaled."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

PHOTOGRAPH = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"


@pytest.fixture(scope="session")
def photograph() -> Tensor:
    """Float [1, 3, 600, 512] with one frontal face."""
    with Image.open(PHOTOGRAPH) as opened:
        return torch.from_numpy(np.array(opened.convert("RGB"))).permute(2, 0, 1)[None].float() / 255


@pytest.fixture(scope="session")
def portraits(photograph: Tensor) -> Tensor:
    """Float [5, 3, 96, 96]: the face shifted a little and made noisy; the third picture is noise alone."""
    generator = torch.Generator().manual_seed(0)
    small = interpolate(photograph[:, :, 30:430, 60:460], size=(96, 96), mode="bilinear", antialias=True)
    pictures = torch.cat([small.roll((3 * i - 6, 2 * i - 4), dims=(2, 3)) for i in range(5)])
    pictures[2] = 0.5
    return (pictures + 0.02 * torch.randn(pictures.shape, generator=generator)).clamp(0, 1)
