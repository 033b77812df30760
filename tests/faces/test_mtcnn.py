from __future__ import annotations

import pytest
import torch

from fairlit.faces import FaceDetector, mtcnn


@pytest.mark.parametrize("size", [(65, 40), (66, 41), (71, 33)])
def test_strips_say_what_the_whole_level_says(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    pnet = FaceDetector().pnet
    pixels = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        whole = pnet(pixels)
        for rows in (2, 7, 30):
            monkeypatch.setattr(mtcnn, "STRIP_PIXELS", rows * size[1])
            for strips, expected in zip(mtcnn._in_strips(pnet, pixels), whole, strict=True):
                torch.testing.assert_close(strips, expected, atol=1e-5, rtol=0)


def test_summed_areas_are_sums() -> None:
    pixels = torch.rand(2, 3, 5, 7, generator=torch.Generator().manual_seed(0))
    table = mtcnn._summed_area(pixels.contiguous(memory_format=torch.channels_last))
    assert table.shape == (2, 6, 8, 3)
    assert table.is_contiguous()
    expected = torch.stack([pixels[1, :, :4, :6].double().sum(dim=(1, 2)), pixels[1].double().sum(dim=(1, 2))])
    torch.testing.assert_close(torch.stack([table[1, 4, 6], table[1, 5, 7]]), expected)
