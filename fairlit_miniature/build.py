"""Builds the miniature: every stage in order, skipped where its result is there, resumed where it was killed."""

from __future__ import annotations

import copy
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from transformers import CLIPImageProcessor, CLIPTextModel

from fairlit.diffusion.saving import save_pipeline, save_text_encoder, save_tokenizer
from fairlit.errors import ConfigurationError
from fairlit.faces.classifier import AttributeClassifier
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
from fairlit_miniature.generator import Generator
from fairlit_miniature.loop import Schedule
from fairlit_miniature.materials import Materials
from fairlit_miniature.models import build_scheduler, build_unet, seeded
from fairlit_miniature.recipe import Recipe
from fairlit_miniature.report import show_report, write_report
from fairlit_miniature.stages import (
    CLASSIFIERS,
    PANEL,
    PARTS,
    STAGES,
    install_stage,
    is_installed,
    note_stage,
    read_record,
    take_over,
)
from fairlit_miniature.training_diffusion import train_diffusion
from fairlit_miniature.training_encoders import MEAN, STD, train_clip, train_dino
from fairlit_miniature.training_text import train_text_encoder
from fairlit_miniature.training_vae import train_vae


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
        self.data = Materials(recipe, workdir, device, progress=progress)
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
                for folder, network in CLASSIFIERS.items()
            },
            "face_bank.safetensors": self._make_bank,
        }
        for name, parts in PARTS.items():
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
            return check_autoencoder(self.data.vae, self.data.held_out, progress=self.progress)
        if stage == "text_encoder":
            text_encoder = CLIPTextModel.from_pretrained(self.workdir / "text_encoder").to(self.device)
            return check_text_encoder(text_encoder, self.data.tokenizer)
        if stage == "encoders":
            return check_encoders(self.workdir, self.data.vae, self.data.held_out)
        if stage in ("unet", "refinement"):
            [part] = PARTS[stage]
            generate = Generator(self.data.pipeline(part), self.progress)
            return check_faces(generate, self.recipe.checked)
        return run_checks(out, self.recipe, self.data.held_out, device=self.device, progress=self.progress)

    def _part(self, name: str, make: Callable[[Path], None]) -> None:
        place = self.workdir / name
        if place.exists():
            return
        unfinished = self.workdir / f"partial-{name}"
        shutil.rmtree(unfinished, ignore_errors=True)
        make(unfinished)
        unfinished.replace(place)

    def _make_vae(self, folder: Path) -> None:
        vae = train_vae(
            self.data.drawings,
            self.recipe.vae,
            self.workdir / "vae.pt",
            seed=self.recipe.seed,
            device=self.device,
            progress=self.progress,
        )
        vae.half().save_pretrained(folder)  # what comes after is made with what is saved

    def _make_text_encoder(self, folder: Path) -> None:
        text_encoder = train_text_encoder(
            self.data.texts,
            self.data.drawings.scenes,
            self.data.tokenizer,
            schedule=self.recipe.text,
            checkpoint=self.workdir / "text.pt",
            seed=self.recipe.seed,
            device=self.device,
            progress=self.progress,
        )
        save_text_encoder(text_encoder, folder)

    def _make_pipeline(self, folder: Path) -> None:
        seeded(self.recipe.seed)
        unet = build_unet()
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
            self.data.captioned,
            text_encoder.requires_grad_(False),
            schedule=schedule,
            checkpoint=self.workdir / checkpoint,
            seed=seed,
            device=self.device,
            progress=self.progress,
        )
        pipeline = StableDiffusionPipeline(
            vae=copy.deepcopy(self.data.vae).half(),
            text_encoder=text_encoder,
            tokenizer=self.data.tokenizer,
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
            self.data.versions,
            CaptionTruth.of(self.data.drawings.scenes[: self.recipe.passed]),
            self.data.tokenizer,
            schedule=self.recipe.clip,
            checkpoint=self.workdir / "clip.pt",
            seed=self.recipe.seed,
            device=self.device,
            progress=self.progress,
        )
        clip.save_pretrained(folder)
        save_tokenizer(self.data.tokenizer, folder)
        _image_processor().save_pretrained(folder)

    def _make_dino(self, folder: Path) -> None:
        dino = train_dino(
            self.data.versions,
            self.recipe.dino,
            self.workdir / "dino.pt",
            seed=self.recipe.seed,
            device=self.device,
            progress=self.progress,
        )
        dino.save_pretrained(folder)
        _image_processor().save_pretrained(folder)

    def _make_faces(self, folder: Path) -> None:
        detector = training_faces.build_detector()
        find = partial(training_faces.find_faces, detector, progress=self.progress)
        versions = []
        for split, drawings in {"train": self.data.faces, "val": self.data.held_out}.items():
            images = drawings.images(slice(None))
            faces = find(images=images, name=f"faces ({split})")
            labels = [scene.people[0] for scene in drawings.scenes]
            for name, pixels in (("drawn", drawings.pixels), ("passed", self.data.passed(images))):
                versions.append(training_faces.Version(f"{split}-{name}", split, labels, pixels, faces))
        faces = find(images=self.data.generated.float() / 255.0, name="faces (generated)")
        labels = [scene.people[0] for scene in self.data.faces.scenes]
        versions.append(training_faces.Version("train-generated", "train", labels, self.data.generated, faces))
        training_faces.write_faces(folder, versions)

    def _make_labelled_faces(self, folder: Path) -> None:
        """The faces whose classes are known, and generated ones that the panel has labelled."""
        shutil.copytree(self.workdir / "faces", folder, copy_function=os.link)
        images = self.data.unnamed.float() / 255.0
        faces = training_faces.find_faces(training_faces.build_detector(), images, "faces (unnamed)", self.progress)
        panel = [AttributeClassifier.load(self.workdir / name) for name in PANEL]
        labels = training_faces.majority_labels(panel, images, faces)
        held_out = len(images) - len(images) // 10
        versions = [
            training_faces.Version(f"{split}-unnamed", split, labels, self.data.unnamed, faces.select(chosen))
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
        training_faces.fill_bank(self.workdir / "classifier_train", self.data.held_out, file, progress=self.progress)


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
                take_over(out, workdir, name)
            elif stage in (None, name):
                builder.build(name)
                install_stage(workdir, out, name)
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
