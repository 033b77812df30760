"""Builds the miniature: every stage in order, skipped where its result is there, resumed where it was killed."""

from __future__ import annotations

import copy
import os
import shutil
from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import CLIPImageProcessor, CLIPTextModel, CLIPTokenizer

from fairlit.diffusion.saving import save_pipeline, save_text_encoder, save_tokenizer
from fairlit.errors import ConfigurationError
from fairlit.faces.classifier import AttributeClassifier
from fairlit.io.atomic import atomic_path
from fairlit_miniature import training_faces
from fairlit_miniature.canvas import SIZE
from fairlit_miniature.caption_truth import CaptionTruth
from fairlit_miniature.checks import (
    Figures,
    check_autoencoder,
    check_encoders,
    check_faces,
    check_text_encoder,
    run_checks,
)
from fairlit_miniature.dataset import Drawings, draw
from fairlit_miniature.generator import Generator
from fairlit_miniature.loop import Schedule
from fairlit_miniature.models import build_scheduler, build_unet, seeded
from fairlit_miniature.recipe import Recipe
from fairlit_miniature.report import show_report, write_report
from fairlit_miniature.stages import (
    PANEL,
    STAGES,
    classifiers,
    install_stage,
    is_installed,
    note_stage,
    read_record,
    stage_parts,
    take_over,
)
from fairlit_miniature.tokenizing import build_tokenizer
from fairlit_miniature.training_diffusion import Captioned, caption_tokens, head_weights, train_diffusion
from fairlit_miniature.training_encoders import MEAN, STD, train_clip, train_dino
from fairlit_miniature.training_text import Facts, train_text_encoder
from fairlit_miniature.training_vae import encode, reconstruct, train_vae
from fairlit_miniature.world import balanced_scene, full_caption, sample_scene

FACES_FROM = 10_000_000  # numbers of balanced scenes, apart for training and for everything held out
HELD_OUT_FROM = 20_000_000
UNNAMED_FROM = 30_000_000
FACES_STEPS = 8  # about as many as finetuning samples with


class Builder:
    """The stages of a build. Each writes beside its place and renames, so that what exists is whole.

    Args:
        recipe: how much of everything.
        workdir: where intermediate results are kept; belongs to one recipe.
        device: where networks train.
        progress: where to show bars.

    Raises:
        ConfigurationError: `workdir` was begun with another recipe.
    """

    def __init__(self, recipe: Recipe, workdir: Path, device: str, *, progress: Progress) -> None:
        self.recipe, self.workdir, self.device, self.progress = recipe, workdir, device, progress
        self.tokenizer: CLIPTokenizer = build_tokenizer(recipe.occupations)
        recipe.claim(workdir)

    def build(self, stage: str | None = None) -> None:
        """Makes every part that is not there yet.

        Args:
            stage: the only one of `STAGES` to make; None: all.

        Raises:
            ConfigurationError: parts of the stages before it are not there.
        """
        makers: dict[str, Callable[[Path], None]] = {
            "vae": self._make_vae,
            "text_encoder": self._make_text_encoder,
            "pipeline": self._make_pipeline,
            "refined": self._make_refined,
            "clip": self._make_clip,
            "dino": self._make_dino,
            "faces": self._make_faces,
            **{folder: partial(self._make_classifier, network, "faces") for folder, network in PANEL.items()},
            "labelled_faces": self._make_labelled_faces,
            **{
                folder: partial(self._make_classifier, network, "labelled_faces")
                for folder, network in classifiers(self.recipe).items()
            },
            "face_bank.safetensors": self._make_bank,
        }
        for name, parts in stage_parts(self.recipe).items():
            if stage in (None, name):
                for part in parts:
                    self._part(part, makers[part])
            elif missing := [part for part in parts if not (self.workdir / part).exists()]:
                raise ConfigurationError(
                    f"stage: got {stage}; expected {', '.join(missing)} of the stage {name} in {self.workdir}; "
                    f"build with --stage {name} first"
                )
            if name == stage:
                return

    def check(self, stage: str, out: Path) -> Figures:
        """Figures of a stage's own checks.

        Args:
            stage: one of `STAGES`, built.
            out: where its parts and those before it are installed; the judges' checks read all of it.
        """
        if stage == "autoencoder":
            return check_autoencoder(self.vae, self.held_out, progress=self.progress)
        if stage == "text_encoder":
            text_encoder = CLIPTextModel.from_pretrained(self.workdir / "text_encoder").to(self.device)
            return check_text_encoder(text_encoder, self.tokenizer, self.recipe.occupations)
        if stage == "encoders":
            return check_encoders(self.workdir, self.vae, self.held_out, self.recipe.occupations)
        if stage in ("unet", "refinement"):
            [part] = stage_parts(self.recipe)[stage]
            generate = Generator(self._pipeline(part), self.progress)
            return check_faces(generate, self.recipe.occupations, count=self.recipe.checked)
        return run_checks(out, self.recipe, self.held_out, device=self.device, progress=self.progress)

    def _part(self, name: str, make: Callable[[Path], None]) -> None:
        place = self.workdir / name
        if place.exists():
            return
        unfinished = self.workdir / f"partial-{name}"
        shutil.rmtree(unfinished, ignore_errors=True)
        make(unfinished)
        unfinished.replace(place)

    @cached_property
    def drawings(self) -> Drawings:
        """The captioned scenes."""
        return draw(
            "drawings",
            lambda index: sample_scene(self.recipe.seed, index, occupations=self.recipe.occupations),
            self.recipe.drawings,
            self.workdir / "drawings.npz",
            self.progress,
        )

    def _balanced(self, name: str, count: int, start: int) -> Drawings:
        return draw(
            name,
            lambda index: balanced_scene(self.recipe.seed, start + index, self.recipe.occupations),
            count,
            self.workdir / f"{name.replace(' ', '_')}.npz",
            self.progress,
        )

    @cached_property
    def faces(self) -> Drawings:
        """Balanced scenes that the classifiers train on."""
        return self._balanced("balanced drawings", self.recipe.faces, FACES_FROM)

    @cached_property
    def held_out(self) -> Drawings:
        """Balanced scenes that nothing trains on."""
        return self._balanced("held-out drawings", self.recipe.held_out, HELD_OUT_FROM)

    @cached_property
    def vae(self) -> AutoencoderKL:
        """The finished autoencoder."""
        vae = AutoencoderKL.from_pretrained(self.workdir / "vae", dtype=torch.float32)
        vae.register_to_config(_name_or_path="vae")  # the pipeline's config would name this machine's folder
        return vae.to(self.device).requires_grad_(False)

    @cached_property
    def versions(self) -> Tensor:
        """The first drawings, as drawn and as they come out of the autoencoder: uint8 [2, N, 3, 64, 64]."""
        file = self.workdir / "passed.safetensors"
        if not file.exists():
            images = self.drawings.images(slice(self.recipe.passed))
            with atomic_path(file) as path:
                save_file({"pixels": self._pass(images)}, path)
        passed = load_file(file)["pixels"]
        return torch.stack([self.drawings.pixels[: len(passed)], passed])

    def _pass(self, images: Tensor) -> Tensor:
        return (reconstruct(self.vae, images) * 255).round().to(torch.uint8)

    def _make_vae(self, folder: Path) -> None:
        vae = train_vae(
            self.drawings,
            self.recipe.vae,
            self.workdir / "vae.pt",
            seed=self.recipe.seed,
            device=self.device,
            progress=self.progress,
        )
        vae.half().save_pretrained(folder)  # what comes after is made with what is saved

    @cached_property
    def texts(self) -> Tensor:
        """Tokens of what each drawing may be called."""
        return caption_tokens(self.tokenizer, self.drawings.scenes)

    @cached_property
    def captioned(self) -> Captioned:
        """What the U-Net learns from."""
        file = self.workdir / "latents.safetensors"
        if not file.exists():
            both = torch.stack([encode(self.vae, self.drawings, mirrored=mirrored) for mirrored in (False, True)])
            with atomic_path(file) as path:
                save_file({"latents": (both * self.vae.config.scaling_factor).half().contiguous()}, path)
        return Captioned(load_file(file)["latents"], head_weights(self.drawings.boxes), self.texts)

    def _make_text_encoder(self, folder: Path) -> None:
        text_encoder = train_text_encoder(
            self.texts,
            self.drawings.scenes,
            self.tokenizer,
            facts=Facts.of(self.recipe.occupations),
            schedule=self.recipe.text,
            checkpoint=self.workdir / "text.pt",
            seed=self.recipe.seed,
            device=self.device,
            progress=self.progress,
        )
        save_text_encoder(text_encoder, folder)

    def _make_pipeline(self, folder: Path) -> None:
        seeded(self.recipe.seed)
        unet = build_unet(pooled_text=self.recipe.pooled_text)
        self._train_pipeline(
            unet, folder, schedule=self.recipe.diffusion, checkpoint="diffusion.pt", seed=self.recipe.seed
        )

    def _make_refined(self, folder: Path) -> None:
        unet = UNet2DConditionModel.from_pretrained(self.workdir / "pipeline" / "unet", dtype=torch.float32)
        unet.register_to_config(_name_or_path="")  # else it would name a folder of this machine
        self._train_pipeline(
            unet, folder, schedule=self.recipe.refinement, checkpoint="refinement.pt", seed=self.recipe.seed + 1
        )

    def _train_pipeline(
        self, unet: UNet2DConditionModel, folder: Path, *, schedule: Schedule, checkpoint: str, seed: int
    ) -> None:
        text_encoder = CLIPTextModel.from_pretrained(self.workdir / "text_encoder").to(self.device)
        unet = train_diffusion(
            unet,
            self.captioned,
            text_encoder.requires_grad_(False),
            schedule=schedule,
            checkpoint=self.workdir / checkpoint,
            seed=seed,
            device=self.device,
            progress=self.progress,
        )
        pipeline = StableDiffusionPipeline(
            vae=copy.deepcopy(self.vae).half(),
            text_encoder=text_encoder,
            tokenizer=self.tokenizer,
            unet=unet.half(),
            scheduler=build_scheduler(),
            safety_checker=None,
            feature_extractor=None,
            image_encoder=None,
            requires_safety_checker=False,
        )
        save_pipeline(pipeline, folder)

    def _make_clip(self, folder: Path) -> None:
        clip = train_clip(
            self.versions,
            CaptionTruth.of(self.drawings.scenes[: self.recipe.passed]),
            self.tokenizer,
            schedule=self.recipe.clip,
            checkpoint=self.workdir / "clip.pt",
            seed=self.recipe.seed,
            device=self.device,
            progress=self.progress,
        )
        clip.save_pretrained(folder)
        save_tokenizer(self.tokenizer, folder)
        _image_processor().save_pretrained(folder)

    def _make_dino(self, folder: Path) -> None:
        dino = train_dino(
            self.versions,
            self.recipe.dino,
            self.workdir / "dino.pt",
            seed=self.recipe.seed,
            device=self.device,
            progress=self.progress,
        )
        dino.save_pretrained(folder)
        _image_processor().save_pretrained(folder)

    def _pipeline(self, part: str) -> StableDiffusionPipeline:
        return StableDiffusionPipeline.from_pretrained(self.workdir / part, dtype=torch.float32).to(self.device)

    @cached_property
    def generated(self) -> Tensor:
        """Pictures that the finished pipeline generates of the balanced scenes, uint8 [N, 3, 64, 64].

        They are what the classifiers will judge. Drawings alone teach two classifiers to rely on different signs of
        the same attribute, which in drawings agree and in generated pictures need not.
        """
        return self._generated("generated", [full_caption(scene) for scene in self.faces.scenes], FACES_FROM)

    @cached_property
    def unnamed(self) -> Tensor:
        """Pictures that the finished pipeline generates of captions without attribute words, uint8 [N, 3, 64, 64].

        Many of their faces lie between two classes, where only the panel says on which side.
        """
        seed = self.recipe.seed
        captions = [
            balanced_scene(seed, UNNAMED_FROM + index, self.recipe.occupations).caption
            for index in range(self.recipe.unnamed)
        ]
        return self._generated("unnamed", captions, UNNAMED_FROM)

    def _generated(self, name: str, captions: list[str], first: int) -> Tensor:
        file = self.workdir / f"{name}.safetensors"
        if not file.exists():
            generate = Generator(self._pipeline("refined"), self.progress, noise=first, steps=FACES_STEPS)
            images = generate(f"generating faces ({name})", captions)
            with atomic_path(file) as path:
                save_file({"pixels": (images * 255).round().to(torch.uint8)}, path)
        return load_file(file)["pixels"]

    def _make_faces(self, folder: Path) -> None:
        detector = training_faces.build_detector()
        find = partial(training_faces.find_faces, detector, progress=self.progress)
        versions = []
        for split, drawings in {"train": self.faces, "val": self.held_out}.items():
            faces = find(images=drawings.images(slice(None)), name=f"faces ({split})")
            labels = [scene.people[0] for scene in drawings.scenes]
            for name, pixels in (("drawn", drawings.pixels), ("passed", self._pass(drawings.images(slice(None))))):
                versions.append(training_faces.Version(f"{split}-{name}", split, labels, pixels, faces))
        faces = find(images=self.generated.float() / 255.0, name="faces (generated)")
        labels = [scene.people[0] for scene in self.faces.scenes]
        versions.append(training_faces.Version("train-generated", "train", labels, self.generated, faces))
        training_faces.write_faces(folder, versions)

    def _make_labelled_faces(self, folder: Path) -> None:
        """The faces whose classes are known, and generated ones that the panel has labelled."""
        shutil.copytree(self.workdir / "faces", folder, copy_function=os.link)
        images = self.unnamed.float() / 255.0
        faces = training_faces.find_faces(training_faces.build_detector(), images, "faces (unnamed)", self.progress)
        panel = [AttributeClassifier.load(self.workdir / name) for name in PANEL]
        labels = training_faces.majority_labels(panel, images, faces)
        held_out = len(images) - len(images) // 10
        versions = [
            training_faces.Version(f"{split}-unnamed", split, labels, self.unnamed, faces.select(chosen))
            for split, chosen in (("train", faces.image_index < held_out), ("val", faces.image_index >= held_out))
        ]
        training_faces.write_faces(folder, versions)

    def _make_classifier(self, network: training_faces.Network, faces: str, folder: Path) -> None:
        training_faces.train_classifier(
            network,
            self.workdir / faces,
            self.recipe.epochs,
            folder=folder,
            checkpoints=self.workdir / f"training-{network.architecture}-{network.seed}",
            progress=self.progress,
        )

    def _make_bank(self, file: Path) -> None:
        training_faces.fill_bank(self.workdir / "classifier_train", self.held_out, file, progress=self.progress)


def _image_processor() -> CLIPImageProcessor:
    """What CLIP and DINOv2 expect: pictures of 64 pixels, normalised to -1..1."""
    return CLIPImageProcessor(
        size={"shortest_edge": SIZE},
        crop_size={"height": SIZE, "width": SIZE},
        image_mean=list(MEAN),
        image_std=list(STD),
    )


def build_miniature(
    recipe: Recipe, out: Path, workdir: Path, *, device: str | None = None, stage: str | None = None
) -> None:
    """Builds, installs and checks the miniature, stage by stage; stages that stand installed are not built again.

    Args:
        recipe: how much of everything.
        out: folder of the finished parts; the build starts from what of this recipe is there.
        workdir: folder of intermediate results; keep it to resume, remove it to start over.
        device: where networks train; by default a GPU if there is one.
        stage: the only one of `STAGES` to build; None: all.

    Raises:
        ConfigurationError: stages before the one to build are neither installed nor in the work folder.
    """
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn()) as progress:
        builder = Builder(recipe, workdir, device, progress=progress)
        for name in STAGES:
            if is_installed(out, recipe, name):
                take_over(out, workdir, recipe, name)
            elif stage in (None, name):
                builder.build(name)
                install_stage(workdir, out, recipe, name)
                note_stage(out, recipe, name, builder.check(name, out))
            if name == stage:
                break
    record = read_record(out)
    if stage in (None, STAGES[-1]):
        figures = record[STAGES[-1]]["checks"]
        write_report(figures, out)
        show_report(figures)
    else:
        Console().print(f"{stage}:", record[stage]["checks"])
