"""What images are generated with."""

# Annotations are evaluated here: to resolve postponed ones, jsonargparse runs the imports below TYPE_CHECKING too.

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from fairlit.data.prompts.config import PromptSource
from fairlit.diffusion.settings import ImageSize, Precision, PromptPadding, Solver
from fairlit.errors import Problems
from fairlit.mitigation.method import Method

if TYPE_CHECKING:
    from fairlit.data.prompts.families import Prompt
    from fairlit.functional.alignment.target_distribution import TargetDistribution
    from fairlit.generation.plan import GenerationPlan


@dataclass(frozen=True, kw_only=True)
class SamplingConfig:
    """Model to generate with, and how it is sampled.

    Args:
        model: folder, hub id or .safetensors file of the pipeline to generate with
        images: number of images per prompt
        seed: seed of the noise; each image has its own noise, whatever the batch size
        steps: number of solver steps
        guidance_scale: scale of classifier-free guidance; up to 1 is no guidance
        image_size: side of the images in pixels, or '[HEIGHT, WIDTH]'; the model's own size by default
        solver: solver to sample with: pipeline (the one that the model came with), dpm-solver++, ddim, euler,
            euler-ancestral, lcm (for models distilled to it)
        prompt_padding: padding of prompts: longest (of the batch), or max_length as in stock diffusers
        precision: data type of the model's weights: float32, bfloat16, float16
    """

    heading: ClassVar[str] = "Model and sampling"

    model: str | None = None
    images: int = 16
    seed: int = 0
    steps: int = 30
    guidance_scale: float = 7.5
    image_size: ImageSize | None = None
    solver: Solver = "pipeline"
    prompt_padding: PromptPadding = "longest"
    precision: Precision = "float32"

    def plan(
        self,
        prompts: "Sequence[Prompt]",
        out: Path,
        *,
        method: Method | None,
        target: "TargetDistribution | None",
        batch_size: int,
        overwrite: bool,
    ) -> "GenerationPlan":
        """Return the plan of the images, not checked yet.

        Args:
            prompts: what to ask for.
            out: folder for the images.
            method: mitigation method; None: the unchanged model.
            target: target distribution of the method.
            batch_size: number of images that go through the model together.
            overwrite: whether images of other settings are replaced.
        """
        from fairlit.generation.plan import GenerationPlan
        from fairlit.mitigation import NoMitigation

        return GenerationPlan(
            model=self.model or "",
            prompts=prompts,
            out=out,
            images=self.images,
            method=method or NoMitigation(),
            target=target,
            seed=self.seed,
            steps=self.steps,
            guidance_scale=self.guidance_scale,
            image_size=self.image_size,
            solver=self.solver,
            prompt_padding=self.prompt_padding,
            precision=self.precision,
            batch_size=batch_size,
            overwrite=overwrite,
        )


@dataclass(frozen=True, kw_only=True)
class MethodChoice:
    """What is done about the distribution of perceived attributes.

    Args:
        method: mitigation method: adaptor, attribute_words, ethical_intervention, fair_diffusion, debiasvl, uce,
            latent_guidance, output_editing, or a class path; its settings: --method.NAME VALUE
        adaptor: folder of a finetuned adaptor; short for --method adaptor --method.path PATH
    """

    heading: ClassVar[str] = "Mitigation"

    method: Method | None = None
    adaptor: str | None = None

    def chosen(self, problems: Problems) -> Method | None:
        """Return the method; None: the unchanged model. Notes two choices at once."""
        if self.adaptor is None:
            return self.method
        if self.method is not None:
            problems.add("adaptor: stands for --method adaptor; leave out --adaptor or --method")
        from fairlit.mitigation import FinetunedAdaptor

        return FinetunedAdaptor(self.adaptor)


@dataclass(frozen=True, kw_only=True)
class GenerateConfig(PromptSource, SamplingConfig, MethodChoice):
    """Settings of `fairlit generate`; see `fairlit.generate`.

    Args:
        out: folder for the images, with one folder in it for each prompt
        overwrite: replace images of other settings that the folder holds
        target: target distribution of the method, if it needs one: a YAML file, or '{gender: {female: 0.5, male: 0.5}}'
        batch_size: number of images that go through the model together
        device: device of the model: auto (a GPU if there is one), cpu, cuda, cuda:1, mps
    """

    heading: ClassVar[str] = "Output"

    out: str | None = None
    overwrite: bool = False
    target: str | dict[str, Any] | None = None
    batch_size: int = 8
    device: str = "auto"
