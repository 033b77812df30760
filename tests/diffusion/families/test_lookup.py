from __future__ import annotations

import json
from pathlib import Path

import diffusers
import pytest
from diffusers import DiffusionPipeline, StableDiffusionPipeline

from fairlit.diffusion import Backbone
from fairlit.diffusion.families.lookup import FAMILIES, family_in, family_of
from fairlit.errors import ConfigurationError


def test_a_pipeline_and_its_backbone_are_of_one_family(
    tiny_pipeline: StableDiffusionPipeline, tiny_pipeline_folder: Path
) -> None:
    family = family_of(tiny_pipeline)
    assert family_of(Backbone(tiny_pipeline)) is family
    assert family_in(tiny_pipeline_folder, "model") is family


def test_classes_of_all_families_exist_and_belong_to_one() -> None:
    named = [name for family in FAMILIES for name in (*family.pipelines, family.inpainting)]
    assert len(set(named)) == len(named)
    assert all(issubclass(getattr(diffusers, name), DiffusionPipeline) for name in named)
    for family in FAMILIES:
        assert {family.denoiser, *family.tokenizers, *family.tokenizers.values()} <= set(family.parts)


class SomebodysPipeline(DiffusionPipeline):  # type: ignore[misc]
    """A pipeline that nobody knows."""


def test_foreign_pipelines_are_refused_with_the_classes_that_work(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"got a SomebodysPipeline; give .*\(StableDiffusionPipeline\)"):
        family_of(SomebodysPipeline())
    with pytest.raises(ConfigurationError, match=r"^model: .*model_index\.json is missing"):
        family_in(tmp_path, "model")
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "FluxPipeline"}))
    with pytest.raises(ConfigurationError, match=r"of a FluxPipeline \(Flux\); give .*\(StableDiffusionPipeline\)"):
        family_in(tmp_path, "model")
