"""What the text foretells of prompts' leanings, against regressions that leave out one prompt at a time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from result_files import old_file
from script_runs import load_script, run_script

from fairlit.diffusion.backbone import Backbone
from fairlit.results import AuditResults

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "checkpoints" / "miniature" / "pipeline"
PROMPTS = ROOT / "configs" / "prompts" / "miniature.yaml"


def test_every_prompt_is_foretold_from_the_others_alone() -> None:
    script = load_script("foretold")
    states = torch.randn(9, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    shares = torch.rand(9, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    scale = (states - states.mean(dim=0)).square().sum(dim=1).mean()
    every = []
    for penalty in torch.logspace(-4, 2, 25, dtype=torch.float64):
        left = []
        for out in range(9):
            kept = [row for row in range(9) if row != out]
            mean, level = states[kept].mean(dim=0), shares[kept].mean()
            centred = states[kept] - mean
            normal = centred.T @ centred + scale * penalty * torch.eye(4)
            weights = torch.linalg.solve(normal, centred.T @ (shares[kept] - level))
            left.append(shares[out] - level - (states[out] - mean) @ weights)
        every.append(torch.stack(left))
    best = min(every, key=lambda one: float(one.square().sum()))
    torch.testing.assert_close(script.foretell(states, shares), best)


def test_noise_of_few_faces_is_no_deviation() -> None:
    """Fair coins, thrown 20 times by each of many prompts: what is seen is noise. Shares of 0 and 1 have none."""
    deviation = load_script("foretold").deviation
    tosses = torch.rand(20_000, 20, generator=torch.Generator().manual_seed(0))
    heads = (tosses < 0.5).double().mean(dim=1)
    assert deviation(heads - 0.5, heads, torch.full((20_000,), 20)) < 0.02
    shares = torch.tensor([0.0, 1.0])
    assert deviation(shares - 0.5, shares, torch.tensor([10, 10])) == pytest.approx(0.5)


def test_leanings_along_the_text_are_foretold(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Shares that are a linear function of what the text encoder makes of a prompt, and no noise: 10**6 faces each."""
    jobs = yaml.safe_load(PROMPTS.read_text())["families"]["occupations"]["fillers"]["occupation"]["train"][:30]
    prompts = [f"a photo of the face of a {job}, a person" for job in jobs]
    read = load_script("foretold").text_states(Backbone.load(str(MODEL)), prompts)
    along = torch.linalg.svd(read - read.mean(dim=0)).Vh[0]
    place = (read - read.mean(dim=0)) @ along
    shares = (0.5 + 0.4 * place / place.abs().max()).tolist()
    audit = AuditResults.read(old_file("audit"))
    entry = audit.figures.per_prompt[0]
    label, other = entry.attributes["gender"].frequencies
    entries = []
    for prompt, share in zip(prompts, shares, strict=True):
        block, values = entry.attributes["gender"], {label: share, other: 1 - share}
        counted = {name: replace(one, value=values[name]) for name, one in block.frequencies.items()}
        attributes = {"gender": replace(block, frequencies=counted)}
        entries.append(replace(entry, prompt=prompt, faces=10**6, attributes=attributes))
    replace(audit, figures=replace(audit.figures, per_prompt=tuple(entries))).write(tmp_path)
    run_script("foretold", tmp_path, "--model", MODEL)
    rows = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    assert [row[:2] for row in rows] == [[label, "30"], [other, "30"]]
    spread = float(torch.tensor(shares).std(correction=0))
    assert [float(row[2]) for row in rows] == pytest.approx([spread, spread], abs=2e-3)
    assert all(int(row[4].rstrip("%")) > 80 for row in rows), rows


def test_two_prompts_foretell_nothing(tmp_path: Path) -> None:
    audit = AuditResults.read(old_file("audit"))
    few = replace(audit, figures=replace(audit.figures, per_prompt=audit.figures.per_prompt[:2])).write(tmp_path)
    with pytest.raises(SystemExit, match=r"faces in \d prompts; expected at least 3"):
        run_script("foretold", few, "--model", MODEL)
