from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from fairlit.errors import ConfigurationError
from fairlit_miniature.build import build_miniature
from fairlit_miniature.checks import check_text_encoder
from fairlit_miniature.loop import Schedule
from fairlit_miniature.models import build_text_encoder, seeded
from fairlit_miniature.occupations import OCCUPATIONS
from fairlit_miniature.recipe import FULL
from fairlit_miniature.stages import (
    RECORD,
    STAGES,
    install_stage,
    is_installed,
    note_stage,
    read_record,
    stage_fingerprint,
    take_over,
)
from fairlit_miniature.tokenizing import build_tokenizer
from tests.fairlit_miniature.test_build import RECIPE


def made(folder: Path, part: str, text: str) -> None:
    (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / part / "weights").write_text(text)


@pytest.mark.parametrize(
    ("changed", "first"),
    [
        ({"seed": 7}, "autoencoder"),
        ({"vae": Schedule(1, 1.0)}, "autoencoder"),
        ({"text": Schedule(1, 1.0)}, "text_encoder"),
        ({"dino": Schedule(1, 1.0)}, "encoders"),
        ({"diffusion": Schedule(1, 1.0)}, "unet"),
        ({"refinement": Schedule(1, 1.0)}, "refinement"),
        ({"epochs": 9}, "judges"),
        ({"checked": 3}, "judges"),
    ],
)
def test_a_stage_is_another_one_where_something_changed_that_it_or_one_before_it_heeds(
    changed: dict[str, object], first: str
) -> None:
    other = dataclasses.replace(FULL, **changed)  # type: ignore[arg-type]
    differing = [stage for stage in STAGES if stage_fingerprint(FULL, stage) != stage_fingerprint(other, stage)]
    assert differing == list(STAGES[STAGES.index(first) :])


def test_a_stage_made_again_strikes_those_that_came_of_it(tmp_path: Path) -> None:
    work, out = tmp_path / "work", tmp_path / "out"
    for part in ("vae", "text_encoder"):
        made(work, part, part)
    for stage in ("autoencoder", "text_encoder"):
        install_stage(work, out, stage)
        note_stage(out, FULL, stage, {"figure": 1.5})
    assert (out / "pipeline" / "vae" / "weights").read_text() == "vae"
    assert read_record(out)["text_encoder"]["checks"] == {"figure": 1.5}
    assert [is_installed(out, FULL, stage) for stage in STAGES] == [True, True, False, False, False, False]
    assert not is_installed(out, dataclasses.replace(FULL, seed=3), "autoencoder")

    note_stage(out, FULL, "autoencoder", {"figure": 2.5})
    assert list(json.loads((out / RECORD).read_text())) == ["autoencoder"]


def test_a_unet_that_another_refinement_has_replaced_is_not_installed(tmp_path: Path) -> None:
    other = dataclasses.replace(FULL, refinement=Schedule(1, 1.0))
    for stage in STAGES[:5]:
        note_stage(tmp_path, FULL, stage, {})
    assert is_installed(tmp_path, FULL, "unet")
    assert not is_installed(tmp_path, other, "unet")
    assert is_installed(tmp_path, other, "encoders")


def test_what_is_in_the_work_folder_is_not_replaced_by_what_is_installed(tmp_path: Path) -> None:
    work, out, other = tmp_path / "work", tmp_path / "out", tmp_path / "other"
    made(work, "vae", "installed")
    install_stage(work, out, "autoencoder")
    take_over(out, other, "autoencoder")
    assert (other / "vae" / "weights").read_text() == "installed"
    made(other, "vae", "own")
    take_over(out, other, "autoencoder")
    assert (other / "vae" / "weights").read_text() == "own"


def test_a_build_goes_on_from_installed_stages_with_a_new_work_folder(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(ConfigurationError, match="build with --stage autoencoder first"):
        build_miniature(RECIPE, out, tmp_path / "early", device="cpu", stage="text_encoder")
    build_miniature(RECIPE, out, tmp_path / "first", device="cpu", stage="autoencoder")
    figures = read_record(out)["autoencoder"]["checks"]
    assert set(figures) == {"vae_psnr", "drawn_face_rate"}

    build_miniature(RECIPE, out, tmp_path / "second", device="cpu", stage="text_encoder")
    assert list(read_record(out)) == ["autoencoder", "text_encoder"]
    assert 0 < read_record(out)["text_encoder"]["checks"]["foretold_men"] < 2
    taken, installed = (folder / "vae" / "config.json" for folder in (tmp_path / "second", out / "pipeline"))
    assert taken.read_bytes() == installed.read_bytes()
    assert not (tmp_path / "second" / "vae.pt").exists(), "trained again"


def test_shares_are_foretold_where_states_hold_them_and_not_where_they_are_noise() -> None:
    """An encoder whose last state is (share of men, noise) is read exactly; the tokens decide the share."""
    tokenizer = build_tokenizer()
    seeded(0)
    encoder = build_text_encoder(tokenizer).eval()
    noise = check_text_encoder(encoder, tokenizer)["foretold_men"]
    male, female = (tokenizer(word).input_ids[1] for word in ("male", "female"))

    class Knowing(torch.nn.Module):
        device = torch.device("cpu")

        def forward(self, tokens: torch.Tensor) -> object:
            named = (tokens == male).any(dim=1).float() - (tokens == female).any(dim=1).float()
            states = named[:, None, None].expand(*tokens.shape, 64)
            return type("Output", (), {"last_hidden_state": states})()

    knowing = check_text_encoder(Knowing(), tokenizer)["foretold_men"]  # type: ignore[arg-type]
    jobs = [job for job in OCCUPATIONS if job.split == "val"]
    spread = torch.tensor([job.bias.shares("gender")[1] for job in jobs]).std(unbiased=False)
    assert knowing == pytest.approx(float(spread) / 3**0.5, abs=0.02), "named ones exactly, the rest by their mean"
    assert knowing < noise
