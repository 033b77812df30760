"""The committed models are what they are said to be, judged on few pictures; `checks.py` judges on many."""

from __future__ import annotations

import json
from itertools import chain
from pathlib import Path

import pytest
import torch
import yaml
from diffusers import AutoencoderKL, DPMSolverMultistepScheduler, StableDiffusionPipeline
from safetensors.torch import load_file
from transformers import CLIPTextModel

from fairlit.data.prompts.sets import PromptSet
from fairlit.faces.bank import FaceBank
from fairlit.faces.classifier import AttributeClassifier
from fairlit.faces.embedding import ClassifierEmbedder
from fairlit.perception import ClipEncoder, DinoEncoder
from fairlit_miniature.checks import check_encoders, check_text_encoder, predict
from fairlit_miniature.dataset import Drawings
from fairlit_miniature.drawing import draw_scene
from fairlit_miniature.materials import HELD_OUT_FROM
from fairlit_miniature.occupations import OCCUPATIONS
from fairlit_miniature.recipe import FULL, GUIDANCE
from fairlit_miniature.report import requirements
from fairlit_miniature.stages import CLASSIFIERS, FINISHED_PARTS, RECORD, STAGES, is_installed, read_record
from fairlit_miniature.tokenizing import build_tokenizer
from fairlit_miniature.training_diffusion import tokenize
from fairlit_miniature.training_faces import build_detector, class_indices
from fairlit_miniature.training_vae import reconstruct
from fairlit_miniature.world import ATTRIBUTES, WORDS, balanced_scene, caption

FOLDER = Path(__file__).parents[2] / "checkpoints" / "miniature"
CONFIGS = Path(__file__).parents[2] / "configs"
SAMPLE = 32


@pytest.fixture(scope="module")
def pipeline() -> StableDiffusionPipeline:
    opened = StableDiffusionPipeline.from_pretrained(FOLDER / "pipeline", local_files_only=True)
    opened.set_progress_bar_config(disable=True)
    return opened


@pytest.fixture(scope="module")
def drawings() -> Drawings:
    scenes = [balanced_scene(0, HELD_OUT_FROM + index) for index in range(SAMPLE)]
    pixels = torch.stack([torch.from_numpy(draw_scene(scene).pixels).permute(2, 0, 1) for scene in scenes])
    return Drawings(scenes, pixels, torch.empty(0))


def test_all_parts_are_there_and_small() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {*FINISHED_PARTS, RECORD, "checks.json", "README.md"}
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) < 40 * 2**20
    suffixes = {path.suffix for path in FOLDER.rglob("*") if path.is_file()}
    assert suffixes <= {".safetensors", ".json", ".txt", ".md"}, "no pickles"


def test_what_is_committed_is_the_output_of_the_recipe() -> None:
    record = read_record(FOLDER)
    assert tuple(record) == STAGES
    assert all(is_installed(FOLDER, FULL, stage) for stage in STAGES)
    assert json.loads((FOLDER / "checks.json").read_text()) == record[STAGES[-1]]["checks"]


def test_requirements_are_met_but_two() -> None:
    """Known misses: faces in 0.941 of the pictures instead of 0.95 after two hours of the U-Net's training, and three
    classifiers that are right about drawings but draw their border through ambiguous faces in different places."""
    figures = json.loads((FOLDER / "checks.json").read_text())
    missed = {what: (wanted, measured) for what, wanted, measured, met in requirements(figures) if not met}
    assert len(missed) == 2
    for (what, (wanted, measured)), known in zip(missed.items(), ("MTCNN finds a face", "say the same"), strict=True):
        assert known in what
        assert measured > wanted - 0.05


def test_text_encoder_leans_occupations_where_words_point(pipeline: StableDiffusionPipeline) -> None:
    """What makes finetuning carry over to prompts that it never saw: bias and words share a direction."""

    def states(named: dict[str, str]) -> torch.Tensor:
        tokens = tokenize(pipeline.tokenizer, [caption("occupations", job, named) for job in OCCUPATIONS])
        return pipeline.text_encoder(tokens).last_hidden_state[:, -1]

    with torch.no_grad():
        male = (states({"gender": "male"}) - states({"gender": "female"})).mean(dim=0)
        leaning = states({}) @ male
    shares = torch.tensor([job.bias.male for job in OCCUPATIONS])
    assert torch.corrcoef(torch.stack([leaning, shares]))[0, 1] > 0.9


def test_demo_contrasts_take_training_prompts_and_known_words() -> None:
    """A contrast is of training prompts; what it is freed of, of such prompts with a word for a class."""
    trained = PromptSet.from_file(CONFIGS / "prompts" / "miniature.yaml").select("train", ["occupations", "groups"])
    texts = {prompt.text for prompt in trained}
    words = {word for classes in WORDS.values() for word in classes.values()}
    demo = yaml.safe_load((CONFIGS / "demo.yaml").read_text())["model"]["init_args"]["adaptor"]["init_args"]
    bias = {job.name: job.bias for job in OCCUPATIONS}
    counts = []
    for path in (CONFIGS / "demo.yaml", *sorted((CONFIGS / "demo").glob("*.yaml"))):
        model = yaml.safe_load(path.read_text()).get("model", {"init_args": {}})
        settings = demo | model["init_args"].get("adaptor", {}).get("init_args", {})
        (women, men), *others = settings["contrasts"]
        assert max(bias[job].male for job in women) < 0.4 < 0.7 < min(bias[job].male for job in men)
        for groups in others:
            if len(groups) == 2:  # by age
                young, old = groups
                assert max(bias[job].young for job in old) < 0.4 < 0.7 < min(bias[job].young for job in young)
            else:
                tones = [{max(range(4), key=bias[job].skin_tone.__getitem__) for job in group} for group in groups]
                assert tones == [{0}, {1}, {2}, {3}]
        assert len(settings["contrasts"]) == len(settings["contrast_without"])
        counts.append(len(settings["contrasts"]))
        for template in settings["contrast_templates"]:
            for group in chain.from_iterable(settings["contrasts"]):
                assert len(group) >= 20
                assert {template.replace("{word}", job) for job in group} <= texts
            for group in chain.from_iterable(settings["contrast_without"]):
                (word,) = {phrase.split(" ")[0] for phrase in group}
                assert word in words
                assert {template.replace("{word}", phrase.removeprefix(f"{word} ")) for phrase in group} <= texts
    assert sorted(counts)[-2:] == [2, 3], "gender and skin tone, and age"


def test_stock_pipeline_draws_people_whom_the_classifier_recognises(pipeline: StableDiffusionPipeline) -> None:
    assert isinstance(pipeline.scheduler, DPMSolverMultistepScheduler)
    assert pipeline.safety_checker is None
    prompts = [
        caption("occupations", OCCUPATIONS[number], {"gender": label})
        for number in (0, 2, 12, 20)
        for label in ATTRIBUTES["gender"]
    ]
    generator = torch.Generator().manual_seed(0)
    images = pipeline(
        prompts, num_inference_steps=12, guidance_scale=GUIDANCE, generator=generator, output_type="pt"
    ).images
    faces = build_detector()(images)
    assert faces.has_face.float().mean() >= 0.75
    answers = predict(AttributeClassifier.load(FOLDER / "classifier_audit"), images, faces)["gender"]
    right = answers == torch.tensor([0, 1] * 4)[faces.image_index]
    assert right.float().mean() > 0.7


def test_classifiers_differ_and_are_right_about_held_out_drawings(drawings: Drawings) -> None:
    images, labels = drawings.images(slice(None)), class_indices(drawings)
    faces = build_detector()(images)
    architectures = set()
    for role in CLASSIFIERS:
        classifier = AttributeClassifier.load(FOLDER / role)
        assert classifier.classes == ATTRIBUTES
        architectures.add(classifier.config.architecture)
        answers = predict(classifier, images, faces)
        for column, name in enumerate(ATTRIBUTES):
            assert (answers[name] == labels[faces.image_index, column]).float().mean() > 0.9
    assert len(architectures) == 3


def test_bank_belongs_to_the_training_classifier() -> None:
    bank = FaceBank.load(FOLDER / "face_bank.safetensors", ClassifierEmbedder(str(FOLDER / "classifier_train")))
    assert bank.classes == ATTRIBUTES
    assert len(bank) > 1000
    for name, classes in ATTRIBUTES.items():
        shares = torch.bincount(bank.labels[name], minlength=len(classes)) / len(bank)
        assert shares.min() > 0.6 / len(classes)


def test_encoders_tell_occupations_apart(drawings: Drawings) -> None:
    images = drawings.images(slice(None))
    names = [scene.subject.name for scene in drawings.scenes]
    other = torch.tensor([[one != two for two in names] for one in names])
    clip = ClipEncoder.load(str(FOLDER / "clip"), local_files_only=True)
    dino = DinoEncoder.load(str(FOLDER / "dino"), local_files_only=True)
    with torch.no_grad():
        texts = clip.text_features([caption("occupations", job, {}) for job in OCCUPATIONS])
        guesses = (clip.image_features(images) @ texts.T).argmax(dim=1)
        assert (
            sum(OCCUPATIONS[int(guess)].name == name for guess, name in zip(guesses, names, strict=True)) > 0.8 * SAMPLE
        )
        for encoder in (clip, dino):
            features, moved = encoder.image_features(images), encoder.image_features(images.roll(1, dims=-1))
            same = (features * moved).sum(dim=1)
            assert same.mean() > (features @ features.T)[other].mean() + 0.2


def test_drawings_pass_the_autoencoder_as_its_checks_say(drawings: Drawings) -> None:
    vae = AutoencoderKL.from_pretrained(FOLDER / "pipeline" / "vae", dtype=torch.float32)
    images = drawings.images(slice(None))
    error = (images - reconstruct(vae, images)).square().mean(dim=(1, 2, 3))
    psnr = float((-10 * error.log10()).mean())
    assert psnr == pytest.approx(read_record(FOLDER)["autoencoder"]["checks"]["vae_psnr"], abs=0.7)
    figures = check_encoders(FOLDER, vae, drawings, SAMPLE)
    checked = read_record(FOLDER)["encoders"]["checks"]
    assert figures["clip_names_class"] == {
        name: pytest.approx(share, abs=0.05) for name, share in checked["clip_names_class"].items()
    }
    assert min(checked["clip_names_class"].values()) > 0.95
    for name in ("clip_names_occupation", "dino_finds_drawing"):
        assert figures[name] == pytest.approx(checked[name], abs=0.05)


def test_the_text_encoder_foretells_as_its_checks_say() -> None:
    text_encoder = CLIPTextModel.from_pretrained(FOLDER / "pipeline" / "text_encoder")
    figures = check_text_encoder(text_encoder, build_tokenizer())
    wanted = read_record(FOLDER)["text_encoder"]["checks"]["foretold_men"]
    assert figures["foretold_men"] == pytest.approx(wanted, abs=2e-3)
    names = load_file(FOLDER / "pipeline" / "text_encoder" / "model.safetensors")
    assert all(name.startswith("text_model.") for name in names), "as transformers 4 reads them"


def test_weights_are_in_half_precision_and_of_stable_diffusions_parts() -> None:
    for part in ("unet", "vae"):
        weights = load_file(FOLDER / "pipeline" / part / "diffusion_pytorch_model.safetensors")
        assert {tensor.dtype for tensor in weights.values()} == {torch.float16}
    config = json.loads((FOLDER / "pipeline" / "unet" / "config.json").read_text())
    assert config["addition_embed_type"] is None
