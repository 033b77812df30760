from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fairlit.data import PromptBatch, PromptDataModule
from fairlit.data.prompts.families import SPLITS
from fairlit.errors import ConfigurationError
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.functional.sampling.noise import keyed_noise

TARGET = {"gender": {"female": 0.5, "male": 0.5}}
OWN = {"gender": {"female": 0.2, "male": 0.8}}
JOBS = ["doctor", "nurse", "chef", "farmer", "pilot"]
PROMPTS = {
    "families": {
        "jobs": {
            "templates": ["a {job}"],
            "fillers": {"job": {"train": JOBS, "val": ["judge", "baker"], "test": ["clown", "diver", "guard"]}},
        },
        "sports": {
            "templates": ["plays {sport}"],
            "fillers": {"sport": {"train": ["chess", "golf"], "val": ["polo"], "test": ["judo"]}},
            "target": OWN,
        },
    }
}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("prompts") / "prompts.yaml"
    path.write_text(yaml.safe_dump(PROMPTS))
    return str(path)


def build(file: str, **changes: Any) -> PromptDataModule:
    return PromptDataModule(**{"prompts": file, "target": TARGET, "images_per_prompt": 3, **changes})


def refusal(file: str, **changes: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        build(file, **changes)
    return str(caught.value)


@pytest.mark.parametrize("families", [None, ["jobs"]])
def test_each_pass_is_a_permutation_of_the_prompts(file: str, families: list[str] | None) -> None:
    data = build(file, families=families)
    texts = [prompt.text for prompt in data.prompts("train")]
    passes = [
        [data.batch("train", epoch * len(texts) + position).prompt for position in range(len(texts))]
        for epoch in range(6)
    ]
    assert all(sorted(order) == sorted(texts) for order in passes)
    assert len({tuple(order) for order in passes}) > 1


@given(index=st.integers(0, 10**6), seed=st.integers(0, 2**31))
def test_a_batch_depends_on_seed_and_index_alone(file: str, index: int, seed: int) -> None:
    one, other = build(file, seed=seed), build(file, seed=seed, validation_images=7)
    for earlier in range(3):
        other.batch("train", earlier)
    assert one.batch("train", index) == other.batch("train", index)


def test_seeds_give_other_orders_and_other_noise(file: str) -> None:
    streams = [[build(file, seed=seed).batch("train", index) for index in range(14)] for seed in (0, 1)]
    assert [batch.prompt for batch in streams[0]] != [batch.prompt for batch in streams[1]]
    assert not set(streams[0][0].keys) & set(streams[1][0].keys)


def test_noise_keys_are_all_different_over_splits_batches_and_images(file: str) -> None:
    data = build(file, images_per_prompt=3, validation_images=4, test_images=5)
    keys = [key for index in range(14) for key in data.batch("train", index).keys]
    keys += [key for index in range(3) for key in data.batch("val", index).keys]
    keys += [key for index in range(4) for key in data.batch("test", index).keys]
    assert len(keys) == 14 * 3 + 3 * 4 + 4 * 5 == len(set(keys))
    noise = keyed_noise(keys, (8,))
    assert len(torch.unique(noise, dim=0)) == len(keys)


def test_the_first_images_have_the_same_noise_however_many_there_are(file: str) -> None:
    few, many = build(file, images_per_prompt=2), build(file, images_per_prompt=9)
    assert few.batch("train", 5).keys == many.batch("train", 5).keys[:2]


def test_validation_and_test_are_the_same_each_time(file: str) -> None:
    data = build(file, validation_images=2)
    first, second = list(data.val_dataloader()), list(data.val_dataloader())
    assert first == second == [data.batch("val", index) for index in range(3)]
    assert [batch.prompt for batch in first] == ["a judge", "a baker", "plays polo"]
    assert list(data.test_dataloader()) == list(data.predict_dataloader())
    assert len(data.val_dataloader()) == 3
    assert len(data.test_dataloader()) == 4


def test_loaders_give_batches_as_they_are(file: str) -> None:
    batch = next(iter(build(file).val_dataloader()))
    assert isinstance(batch, PromptBatch)
    assert all(isinstance(key, tuple) for key in batch.keys)


def test_targets_of_families_and_of_the_run(file: str) -> None:
    data = build(file)
    own, common = TargetDistribution(OWN), TargetDistribution(TARGET)
    for index in range(14):
        batch = data.batch("train", index)
        assert batch.target == (own if batch.family == "sports" else common)
    assert data.targets() == [common, own]
    assert build(file, families=["jobs"]).targets() == [common]
    assert build(file, target=OWN).targets() == [own]


def test_a_share_of_the_prompts_is_mixed_with_others_of_its_family(file: str) -> None:
    data, plain = build(file, mixed_share=0.5), build(file)
    batches = [data.batch("train", index) for index in range(700)]
    mixed = [batch for batch in batches if batch.mix is not None]
    assert 0.44 < len(mixed) / 700 < 0.56
    for batch in mixed:
        assert batch.mix is not None
        words = {"plays chess", "plays golf"} if batch.family == "sports" else {f"a {job}" for job in JOBS}
        assert batch.mix.other in words - {batch.prompt}
        assert 0 <= batch.mix.weight < 0.5
    assert len({batch.mix.other for batch in mixed if batch.mix and batch.family == "jobs"}) == len(JOBS)
    weights = [batch.mix.weight for batch in mixed if batch.mix]
    assert 0.22 < sum(weights) / len(weights) < 0.28
    assert [batch._replace(mix=None) for batch in batches[:50]] == [plain.batch("train", index) for index in range(50)]
    assert data.batch("val", 0).mix is data.batch("test", 0).mix is None
    assert "mixed_share: got 2; expected a share from 0 to 1" in refusal(file, mixed_share=2)


def test_a_share_of_mixed_prompts_is_refused_where_no_two_are_alike(tmp_path: Path) -> None:
    """A prompt for each family and split."""
    families = {name: {"prompts": {split: [f"{name} {split}"] for split in SPLITS}} for name in ("doctor", "player")}
    path = tmp_path / "lone.yaml"
    path.write_text(yaml.safe_dump({"families": families}))
    build(str(path))
    message = "mixed_share: got 0.5, where no two training prompts share a family and a target"
    assert message in refusal(str(path), mixed_share=0.5)


def test_a_target_may_lie_in_a_file_or_be_a_joint_table(file: str, tmp_path: Path) -> None:
    path = tmp_path / "target.yaml"
    path.write_text(yaml.safe_dump(OWN))
    assert build(file, target=str(path)).target == TargetDistribution(OWN)
    joint = {"joint": {"classes": {"a": ["x", "y"], "b": ["u", "v"]}, "table": [[0.5, 0.0], [0.0, 0.5]]}}
    assert build(file, target=joint).target.table.tolist() == [[0.5, 0.0], [0.0, 0.5]]


def test_limits(file: str) -> None:
    data = build(file, validation_prompts=1, test_prompts=100)
    assert [len(data.prompts(split)) for split in ("train", "val", "test")] == [7, 1, 4]


def test_a_limit_is_shared_out_among_the_families(file: str) -> None:
    data = build(file, validation_prompts=2)
    assert [prompt.text for prompt in data.prompts("val")] == ["a judge", "plays polo"]
    every = build(file).prompts("test")
    jobs = [prompt for prompt in every if prompt.family == "jobs"]
    sports = [prompt for prompt in every if prompt.family == "sports"]
    for limit in range(1, len(every) + 1):
        chosen = build(file, test_prompts=limit).prompts("test")
        of_jobs = [prompt for prompt in chosen if prompt.family == "jobs"]
        assert chosen == [prompt for prompt in every if prompt in chosen]
        assert len(chosen) == limit
        assert of_jobs == jobs[: len(of_jobs)]
        assert len(of_jobs) == min(len(jobs), max(limit - len(sports), (limit + 1) // 2))


def test_other_families_may_be_tested_than_trained(file: str) -> None:
    data = build(file, families=["jobs"], test_families=["sports"])
    assert {prompt.family for split in ("train", "val") for prompt in data.prompts(split)} == {"jobs"}
    assert {prompt.family for prompt in data.prompts("test")} == {"sports"}
    assert data.trained_families == {"jobs"}
    assert "has no 'job'; it has jobs, sports" in refusal(file, test_families=["job"])


@pytest.mark.parametrize(("split", "first"), [("train", "a doctor"), ("val", "a judge"), ("test", "a clown")])
def test_any_split_may_be_tested_on_with_the_noise_of_the_test(file: str, split: Any, first: str) -> None:
    data = PromptDataModule(file, TARGET, families=["jobs"], test_split=split)
    batches = list(data.test_dataloader())
    assert batches[0].prompt == first
    assert [batch.prompt for batch in batches] == [prompt.text for prompt in data.prompts(split)]
    usual = PromptDataModule(file, TARGET, families=["jobs"])
    assert batches[0].keys == next(iter(usual.test_dataloader())).keys
    with pytest.raises(ConfigurationError, match="test_split: got 'all'; expected one of train, val, test"):
        PromptDataModule(file, TARGET, test_split="all")  # type: ignore[arg-type]


def test_everything_wrong_is_said_at_once(tmp_path: Path) -> None:
    changes = {
        "images_per_prompt": 0,
        "validation_images": -1,
        "test_images": 0,
        "validation_prompts": 0,
        "test_prompts": -3,
        "seed": -1,
        "target": {"gender": {"female": 0.5, "male": 0.4}},
    }
    message = refusal(str(tmp_path / "absent.yaml"), **changes)
    assert message.startswith("data: 8 problems")
    for name, value in changes.items():
        assert name == "target" or f"{name}: got {value}; give" in message
    assert "shares of 'gender' sum to 0.9" in message
    assert "absent.yaml" in message


def test_single_faults(file: str, tmp_path: Path) -> None:
    assert "has no 'job'; it has jobs, sports" in refusal(file, families=["job"])
    assert "cannot be read" in refusal(file, target=str(tmp_path / "target.yaml"))
    assert "gives no train prompts for no family" in refusal(file, families=[])
    path = tmp_path / "few.yaml"
    entry = {"templates": ["a {job}"], "fillers": {"job": {"train": ["doctor"], "val": []}}}
    path.write_text(yaml.safe_dump({"families": {"f": entry}}))
    message = refusal(str(path))
    assert "gives no val prompts" in message
    assert "gives no test prompts" in message


class Recorder(lightning.LightningModule):
    """Notes which batches it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))
        self.seen: list[PromptBatch] = []

    def training_step(self, batch: PromptBatch, batch_idx: int) -> torch.Tensor:
        self.seen.append(batch)
        return self.weight * 1.0

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def train(file: str, steps: int, folder: Path, resume: Path | None = None, accumulate: int = 1) -> Recorder:
    module = Recorder()
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_steps=steps,
        accumulate_grad_batches=accumulate,
        default_root_dir=folder,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[lightning.pytorch.callbacks.ModelCheckpoint(folder, every_n_train_steps=1, save_top_k=-1)],
    )
    trainer.fit(module, build(file), ckpt_path=resume, weights_only=True)
    return module


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("accumulate", [1, 2])
def test_training_goes_on_where_a_checkpoint_stopped(file: str, tmp_path: Path, accumulate: int) -> None:
    whole = train(file, 9 // accumulate, tmp_path / "whole", accumulate=accumulate).seen
    data = build(file)
    assert whole == [data.batch("train", index) for index in range(9 // accumulate * accumulate)]
    [middle] = (tmp_path / "whole").glob("*step=2.ckpt")
    resumed = train(file, 9 // accumulate, tmp_path / "resumed", middle, accumulate).seen
    assert resumed == whole[2 * accumulate :]
    [second] = (tmp_path / "resumed").glob("*step=3.ckpt")  # a checkpoint of a resumed run
    assert train(file, 9 // accumulate, tmp_path / "again", second, accumulate).seen == whole[3 * accumulate :]
