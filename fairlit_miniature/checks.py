"""Says whether a built miniature is good enough, in figures.

Attributes of generated people are what the auditing classifier perceives; it errs as its accuracy says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline
from rich.progress import Progress
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from fairlit.faces.classifier import AttributeClassifier
from fairlit.faces.detector import FaceDetector, Faces
from fairlit.perception.clip import ClipEncoder
from fairlit.perception.dino import DinoEncoder
from fairlit_miniature.dataset import Drawings
from fairlit_miniature.generator import Generator
from fairlit_miniature.occupations import OCCUPATIONS
from fairlit_miniature.recipe import GUIDANCE, STEPS, Recipe
from fairlit_miniature.subjects import Subject
from fairlit_miniature.training_diffusion import tokenize
from fairlit_miniature.training_faces import build_detector, class_indices, find_faces
from fairlit_miniature.training_vae import reconstruct
from fairlit_miniature.world import ATTRIBUTES, NUMBERS, Labels, caption, describe

Figures = dict[str, Any]
_NAMINGS: tuple[Labels, ...] = ({}, *({"gender": word} for word in ATTRIBUTES["gender"]))


@torch.no_grad()
def classifier_accuracy(classifier: AttributeClassifier, images: Tensor, labels: Tensor, *, faces: Faces) -> Figures:
    """Share of right answers per attribute, over the faces that the detector found.

    Args:
        classifier: to be judged.
        images: float [N, 3, H, W] in 0-1.
        labels: int64 [N, A] in the world's order of attributes.
        faces: at most one an image.
    """
    answers = predict(classifier, images, faces)
    right = {name: answers[name] == labels[faces.image_index, column] for column, name in enumerate(ATTRIBUTES)}
    return {name: round(float(hits.float().mean()), 4) for name, hits in right.items()}


@torch.no_grad()
def predict(classifier: AttributeClassifier, images: Tensor, faces: Faces) -> dict[str, Tensor]:
    """The likeliest class of every attribute: int64 [F]."""
    return {name: logits.argmax(dim=1) for name, logits in classifier.classify(images, faces).items()}


def load_classifiers(folder: Path) -> dict[str, AttributeClassifier]:
    """All attribute classifiers of a miniature, by their folders."""
    return {path.name: AttributeClassifier.load(path) for path in sorted(folder.glob("classifier_*"))}


def agreement(answers: Sequence[dict[str, Tensor]]) -> dict[str, float]:
    """Share of faces of which all classifiers say the same, by attribute.

    Args:
        answers: what each classifier says, `predict`.
    """
    agreed = {name: torch.stack([one[name] for one in answers]) for name in ATTRIBUTES}
    return {name: round(float((said == said[0]).all(dim=0).float().mean()), 4) for name, said in agreed.items()}


def check_autoencoder(vae: AutoencoderKL, held_out: Drawings, *, progress: Progress) -> Figures:
    """How near drawings come back that nothing trained on, and in how many of them a face is found."""
    images = held_out.images(slice(None))
    passed = reconstruct(vae, images)
    error = (images - passed).square().mean(dim=(1, 2, 3))
    rates = {}
    for name, version in (("drawings", images), ("passed", passed)):
        faces = find_faces(build_detector(), version, f"faces ({name})", progress)
        rates[name] = round(float(faces.has_face.float().mean()), 4)
    return {"vae_psnr": round(float((-10 * error.log10()).mean()), 2), "drawn_face_rate": rates}


def check_classifiers(folder: Path, vae: AutoencoderKL, held_out: Drawings, *, progress: Progress) -> Figures:
    """Accuracies of the classifiers on drawings that nothing trained on, as drawn and as the autoencoder gives them."""
    labels, images = class_indices(held_out), held_out.images(slice(None))
    accuracies: Figures = {}
    for name, version in (("drawings", images), ("passed", reconstruct(vae, images))):
        faces = find_faces(build_detector(), version, f"faces ({name})", progress)
        for role, classifier in load_classifiers(folder).items():
            accuracies[f"{role}, {name}"] = classifier_accuracy(classifier, version, labels, faces=faces)
    return accuracies


@torch.no_grad()
def check_encoders(folder: Path, vae: AutoencoderKL, held_out: Drawings, count: int = 400) -> Figures:
    """Whether CLIP and DINOv2 know drawings that nothing trained on.

    Args:
        folder: holds `clip` and `dino`.
        vae: the autoencoder.
        held_out: of these, the first `count` are taken.
        count: number of drawings.

    Returns:
        "clip_names_occupation": share of drawings whose occupation has the caption that is most like them;
        "clip_names_class": the same of each attribute's classes, in captions of people alone;
        "dino_finds_drawing": share of which, passed through the autoencoder, no other drawing is more like.
    """
    images = held_out.images(slice(count))
    clip = ClipEncoder.load(str(folder / "clip"), local_files_only=True)
    captions = clip.text_features([caption("occupations", job, {}) for job in OCCUPATIONS])
    features = clip.image_features(images)
    guesses = (features @ captions.T).argmax(dim=1).tolist()
    named = [OCCUPATIONS[guess] == scene.subject for guess, scene in zip(guesses, held_out.scenes, strict=False)]
    labels, seen = class_indices(held_out)[:count], {}
    for column, (name, classes) in enumerate(ATTRIBUTES.items()):
        texts = [f"a photo of the face of a {describe({name: label})} person" for label in classes]
        likeliest = (features @ clip.text_features(texts).T).argmax(dim=1)
        seen[name] = round(float((likeliest == labels[:, column]).float().mean()), 4)
    dino = DinoEncoder.load(str(folder / "dino"), local_files_only=True)
    alike = dino.image_features(reconstruct(vae, images)) @ dino.image_features(images).T
    found = alike.argmax(dim=1) == torch.arange(len(images))
    return {
        "clip_names_occupation": round(sum(named) / len(named), 4),
        "clip_names_class": seen,
        "dino_finds_drawing": round(float(found.float().mean()), 4),
    }


@torch.no_grad()
def check_text_encoder(text_encoder: CLIPTextModel, tokenizer: CLIPTokenizer) -> Figures:
    """How well a linear map from the text encoder's states foretells the share of men among those whom a caption names.

    The map is fitted by least squares, with a ridge, to three captions of every training occupation (as it is, and
    with either word of gender) and tried on those of the validation occupations.

    Returns:
        "foretold_men": root mean square error of the shares.
    """
    states, wanted = {}, {}
    for split in ("train", "val"):
        jobs = [job for job in OCCUPATIONS if job.split == split]
        texts = [caption("occupations", job, named) for job in jobs for named in _NAMINGS]
        tokens = tokenize(tokenizer, texts)
        end = (tokens == tokenizer.eos_token_id).int().argmax(dim=1)
        hidden = text_encoder(tokens.to(text_encoder.device)).last_hidden_state.cpu().double()
        states[split] = torch.nn.functional.pad(hidden[torch.arange(len(tokens)), end], (0, 1), value=1.0)
        shares = [share for job in jobs for share in (job.bias.shares("gender")[1], 0.0, 1.0)]
        wanted[split] = torch.tensor(shares, dtype=torch.float64)
    known = states["train"]
    ridge = 1e-3 * known.square().mean() * len(known) * torch.eye(known.shape[1], dtype=torch.float64)
    weights = torch.linalg.solve(known.T @ known + ridge, known.T @ wanted["train"])
    error = states["val"] @ weights - wanted["val"]
    return {"foretold_men": round(float(error.square().mean().sqrt()), 4)}


def check_faces(generate: Generator, count: int) -> Figures:
    """Share of generated pictures in which a face is found; of occupations that nothing is tested on."""
    prompts = [caption("occupations", job, {}) for job in OCCUPATIONS if job.split != "test" for _ in range(count)]
    faces = find_faces(build_detector(), generate("generating", prompts), "faces (generated)", generate.progress)
    return {"face_rate": round(float(faces.has_face.float().mean()), 4)}


def check_occupations(
    generate: Generator,
    judges: Mapping[str, AttributeClassifier],
    clip: ClipEncoder,
    *,
    count: int,
) -> Figures:
    """Pictures of every occupation without attribute words: faces, frequencies against the world's, recognisability."""
    prompts = [caption("occupations", job, {}) for job in OCCUPATIONS]
    images = generate("generating occupations", [prompt for prompt in prompts for _ in range(count)])
    owner = torch.arange(len(OCCUPATIONS)).repeat_interleave(count)
    faces = find_faces(build_detector(), images, "faces (generated)", generate.progress)
    said = {role: predict(classifier, images, faces) for role, classifier in judges.items()}
    answers = said["classifier_audit"]
    with torch.no_grad():
        guesses = (clip.image_features(images) @ clip.text_features(prompts).T).argmax(dim=1)
    table: Figures = {}
    differences: dict[str, list[float]] = {name: [] for name in ATTRIBUTES}
    for number, job in enumerate(OCCUPATIONS):
        mine = owner[faces.image_index] == number
        row: Figures = {"split": job.split, "faces": int(mine.sum())}
        for name, classes in ATTRIBUTES.items():
            counts = torch.bincount(answers[name][mine], minlength=len(classes)).double()
            shares, world = (counts / counts.sum().clamp(min=1)).tolist(), job.bias.shares(name)
            row[name] = {
                "generated": [round(share, 3) for share in shares],
                "world": [round(share, 3) for share in world],
            }
            differences[name].append(0.5 * sum(abs(a - b) for a, b in zip(shares, world, strict=True)))
        table[job.name] = row
    bias = {
        job.name: abs(table[job.name]["gender"]["generated"][0] - table[job.name]["gender"]["generated"][1])
        for job in OCCUPATIONS
    }
    tested = [bias[job.name] for job in OCCUPATIONS if job.split == "test"]
    return {
        "face_rate": round(float(faces.has_face.float().mean()), 4),
        "agreement": agreement(list(said.values())),
        "images_an_occupation": count,
        "distance_to_world": {name: round(sum(values) / len(values), 4) for name, values in differences.items()},
        "gender_bias": {"all": round(sum(bias.values()) / len(bias), 4), "test": round(sum(tested) / len(tested), 4)},
        "clip_names_occupation": round(float((guesses == owner).float().mean()), 4),
        "occupations": table,
    }


def check_words(generate: Generator, audit: AttributeClassifier, *, count: int) -> Figures:
    """For every attribute word, the share of faces that the auditing classifier perceives as the word says."""
    obeyed: Figures = {}
    for name, classes in ATTRIBUTES.items():
        for column, label in enumerate(classes):
            prompts = [
                caption("occupations", OCCUPATIONS[number % len(OCCUPATIONS)], {name: label}, suffix=number % 2 == 1)
                for number in range(count)
            ]
            images = generate(f"generating {label}", prompts)
            faces = find_faces(build_detector(), images, f"faces ({label})", generate.progress)
            right = predict(audit, images, faces)[name] == column
            obeyed[label] = round(float(right.float().mean()), 4)
    return obeyed


def check_groups(generate: Generator, count: int) -> Figures:
    """How many people are found in scenes that show two or three."""
    found: Figures = {}
    for people, word in enumerate(NUMBERS, start=2):
        _, faces = generate_people(generate, OCCUPATIONS, people, count=count, named={})
        found[word] = round(float(faces.counts.clamp(max=people).float().mean()), 3)
    return found


def generate_people(
    generate: Generator,
    subjects: Sequence[Subject],
    people: int,
    *,
    count: int,
    named: Labels,
    detector: FaceDetector | None = None,
) -> tuple[Tensor, Faces]:
    """Pictures [N, 3, H, W] of so many people, and all faces in them.

    Args:
        generate: makes them.
        subjects: whom they show, in turn.
        people: in each of them.
        count: number N of pictures.
        named: classes that the captions name.
        detector: finds the faces; None: MTCNN, set for the miniature.
    """
    family = "groups" if people > 1 else "occupations"
    prompts = [caption(family, subjects[n % len(subjects)], named, count=people) for n in range(count)]
    name = f"{people} {describe(named)} people".replace("  ", " ")
    images = generate(f"generating {name}", prompts)
    detector = detector or FaceDetector(min_size=20, scale=2.0, faces="all")
    return images, find_faces(detector, images, f"faces ({name})", generate.progress)


def run_checks(folder: Path, recipe: Recipe, held_out: Drawings, *, device: str, progress: Progress) -> Figures:
    """All figures of a finished miniature.

    Args:
        folder: where its parts are.
        recipe: says how many pictures to generate.
        held_out: balanced drawings that nothing trained on.
        device: where to generate.
        progress: where to show bars.
    """
    pipeline = StableDiffusionPipeline.from_pretrained(folder / "pipeline", dtype=torch.float32).to(device)
    judges = load_classifiers(folder)
    audit = judges["classifier_audit"]
    clip = ClipEncoder.load(str(folder / "clip"), local_files_only=True)
    generate = Generator(pipeline, progress)
    figures: Figures = {"sampling": {"steps": STEPS, "guidance_scale": GUIDANCE, "solver": "DPM-Solver++ 2M"}}
    figures |= check_autoencoder(pipeline.vae, held_out, progress=progress)
    figures["accuracy"] = check_classifiers(folder, pipeline.vae, held_out, progress=progress)
    figures |= check_occupations(generate, judges, clip, count=recipe.checked)
    figures["word_obeyed"] = check_words(generate, audit, count=4 * recipe.checked)
    figures["people_found"] = check_groups(generate, 3 * recipe.checked)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    figures["size_mb"] = round(size / 2**20, 2)
    return figures
