"""Similarities of an audit against the encoders asked directly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from fairlit.auditing.run import AuditSettings, run_audit
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.judging.features import Encoders
from fairlit.judging.image_folders import find_images
from fairlit.judging.observations import Judge
from fairlit.perception import ClipEncoder
from fairlit.pictures.files import read_image

RED, BLUE, GREEN = (220, 40, 40), (40, 40, 220), (20, 200, 20)
TARGET = TargetDistribution({"tint": {"red": 0.5, "blue": 0.5}})
CLIP = Path(__file__).parents[2] / "checkpoints" / "miniature" / "clip"
PROMPTS = ["a photo of the face of a doctor, a person", "a photo of the face of a farmer, a person"]


@pytest.fixture(scope="module")
def clip() -> ClipEncoder:
    return ClipEncoder.load(str(CLIP))


def test_similarities_of_an_audit(
    colour_folder: Callable[..., Path], judge: Judge, clip: ClipEncoder, tmp_path: Path
) -> None:
    """One image is damaged, one has no original, one is of another size."""
    folder = colour_folder([RED, BLUE, GREEN], [BLUE, RED])
    original = colour_folder([RED, RED], [BLUE, RED], name="original")
    (folder / "prompt_1" / "img_1.png").write_bytes(b"cut")
    Image.new("RGB", (48, 48), BLUE).save(folder / "prompt_1" / "img_0.png")
    settings = AuditSettings(
        folder=find_images(folder, PROMPTS),
        target=TARGET,
        out=tmp_path / "out",
        reference=find_images(original, PROMPTS),
    )
    looks: list[int] = []
    results = run_audit(settings, judge, Encoders(clip), progress=looks.append)
    assert sum(looks) == 2 * (5 + 4)

    def features(*files: str) -> Tensor:
        rows = [clip.image_features(read_image(folder.parent / file)[None].float() / 255) for file in files]
        return torch.cat(rows)

    own = features("images/prompt_0/img_0.png", "images/prompt_0/img_1.png", "images/prompt_0/img_2.png")
    other = features("images/prompt_1/img_0.png")
    theirs = features("original/prompt_0/img_0.png", "original/prompt_0/img_1.png", "original/prompt_1/img_0.png")
    texts = clip.text_features(PROMPTS)
    found = results.similarities
    assert found is not None
    clip_t = ((own @ texts[0]).mean() + (other @ texts[1]).mean()) / 2
    clip_i = ((own[:2] * theirs[:2]).sum(dim=1).mean() + (other * theirs[2:]).sum()) / 2
    assert found.measured["clip_t"].value == pytest.approx(float(clip_t), abs=1e-5)
    assert found.measured["clip_i"].value == pytest.approx(float(clip_i), abs=1e-5)
    assert (found.pairs, found.images) == (3, 4)
    assert found.dino is None
    page = (tmp_path / "out" / "report.html").read_text()
    assert "<td>CLIP-I</td>" in page
    assert "in 3 pairs" in page


def test_an_audit_shows_corrected_figures(
    colour_folder: Callable[..., Path], judge: Judge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = find_images(colour_folder([RED] * 9 + [BLUE] * 11, [RED] * 9 + [BLUE] * 11))
    plain = run_audit(AuditSettings(folder=folder, target=TARGET, out=tmp_path / "plain"), judge)
    assert plain.corrected == {}
    assert "Corrected for" not in (tmp_path / "plain" / "report.html").read_text()
    # One of ten red ones is taken for blue: 9 seen of 20 are 10.
    confusion = {"tint": torch.tensor([[900, 100], [0, 1000]])}
    monkeypatch.setattr(type(judge.classifier), "confusion", property(lambda self: confusion))
    results = run_audit(AuditSettings(folder=folder, target=TARGET, out=tmp_path / "out"), judge)
    assert results.figures.attributes["tint"].frequencies["red"].value == pytest.approx(0.45)
    shares = results.corrected["tint"].frequencies
    assert shares is not None
    assert shares["red"].value == pytest.approx(0.5)
    assert results.images_for_tolerance > 20
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Corrected for the classifier&#39;s errors" in page or "Corrected for the classifier's errors" in page
    assert "right about tint in 95.0 % of 2000" in page
