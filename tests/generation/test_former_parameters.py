"""Images of fairlit 0.1.0 still count as made: their parameters are read as they are written now."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from fairlit.data.prompts.families import Prompt
from fairlit.errors import ConfigurationError, Problems
from fairlit.faces import FaceDetection
from fairlit.functional import TargetDistribution
from fairlit.generation import GenerationPlan
from fairlit.generation.former_parameters import current_method, current_parameters
from fairlit.generation.plan import is_made
from fairlit.mitigation import (
    AttributeWords,
    EthicalIntervention,
    FairDiffusion,
    FinetunedAdaptor,
    LatentGuidance,
    Method,
    NoMitigation,
    OutputEditing,
    PromptProjection,
    UnifiedConceptEditing,
)
from fairlit.mitigation.face_editing.settings import FaceEditing
from fairlit.pictures.files import save_png

# Descriptions that the code of 0.1.0 gave of these methods, with these settings.
FORMER = json.loads((Path(__file__).parent / "former_methods.json").read_text())
METHODS: dict[str, Callable[[], Method]] = {
    "latent": lambda: LatentGuidance("no/where", detection=FaceDetection(scale=2.0), iterations=8),
    "uce": lambda: UnifiedConceptEditing("no/where", ["doctor"], detection=FaceDetection(scale=2.0), iterations=8),
    "fair": lambda: FairDiffusion(edit_template="a {word} person", guidance_scale=None, warmup=1),
    "edit": lambda: OutputEditing(
        "no/where",
        keep=["age"],
        detection=FaceDetection(scale=2.0, min_score=0.9),
        editing=FaceEditing(region="image", guidance_scale=3.0),
    ),
    "words": lambda: AttributeWords(after="face of an?"),
    "none": NoMitigation,
    "ethical": EthicalIntervention,
    "debias": PromptProjection,
    "adaptor": lambda: FinetunedAdaptor("no/where"),
}


@pytest.mark.parametrize("name", sorted(FORMER))
def test_former_descriptions_are_those_of_today(name: str) -> None:
    described = METHODS[name]().describe()
    assert current_method(FORMER[name]) == described
    assert current_method(described) == described
    assert json.loads(json.dumps(described)) == described


def test_what_only_looks_like_an_object_stays() -> None:
    odd = {"name": "mine", "judge": "FaceJudge(", "guidance": "strong", "editing": None}
    assert current_method(odd) == odd
    assert current_parameters({"people": 2, "steps": 3}) == {"num_people": 2, "steps": 3}


def test_images_with_former_parameters_are_made(tiny_pipeline_folder: Path, tmp_path: Path) -> None:
    prompt = Prompt("two chefs", "groups", num_people=2)
    method = METHODS["fair"]()
    target = TargetDistribution({"gender": {"female": 0.5, "male": 0.5}})
    plan = GenerationPlan(str(tiny_pipeline_folder), [prompt], tmp_path, images=1, method=method, target=target)
    [[image]] = plan.planned()
    former = {"people" if key == "num_people" else key: value for key, value in image.parameters.items()}
    former |= {"method": FORMER["fair"], "version": "0.1.0"}  # with digests, of which 0.1.0 knew nothing
    del former["dealt_classes"]  # nor did it know these
    save_png(torch.zeros(3, 8, 8), tmp_path / image.file, former)
    with Problems("generate") as problems:
        assert is_made(image, tmp_path, problems)
    other = dataclasses.replace(plan, method=FairDiffusion(warmup=2))
    with pytest.raises(ConfigurationError, match="made with method"), Problems("generate") as problems:
        is_made(other.planned()[0][0], tmp_path, problems)
