from __future__ import annotations

import csv
import dataclasses
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from coloured_folders import Tint
from scipy import stats
from torch import Tensor

from fairlit.auditing.charts import prompts_chart, sorted_by_deviation
from fairlit.auditing.measure import measure, same_noise_pairs, verdict
from fairlit.auditing.run import AuditSettings, run_audit
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.judging.image_folders import find_images
from fairlit.judging.observations import Judge, Seen, observe_folder
from fairlit.metrics import distribution
from fairlit.pictures.chart_style import NARROW, WIDE
from fairlit.results.audit import AuditResults

RED, BLUE, GREEN = (220, 40, 40), (40, 40, 220), (20, 200, 20)
TARGET = TargetDistribution({"tint": {"red": 0.5, "blue": 0.5}})
BOTH = TargetDistribution({"tint": {"red": 0.5, "blue": 0.5}, "tone": {"light": 0.5, "dark": 0.5}})


def seen_as(folder: Path, judge: Judge, notes: Path) -> list[Seen]:
    return observe_folder(find_images(folder), judge, notes)


def test_images_are_seen_in_their_order_and_batches_do_not_matter(
    colour_folder: Callable[..., Path], judge: Judge, tmp_path: Path
) -> None:
    folder = colour_folder([RED, BLUE, GREEN, RED], [BLUE])
    one = observe_folder(find_images(folder), judge, tmp_path / "one.jsonl", batch_size=1)
    all_at_once = observe_folder(find_images(folder), judge, tmp_path / "all.jsonl", batch_size=16)
    assert one == all_at_once
    assert [entry.status for entry in one] == ["face", "face", "no face", "face", "face"]
    assert [entry.probabilities["tint"][0] > 0.5 for entry in one if entry.box] == [True, False, True, False]
    assert one[0].box == (4.0, 3.0, 12.0, 9.0)


def test_an_audit_that_was_stopped_looks_only_at_the_rest(
    colour_folder: Callable[..., Path], judge: Judge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, notes = colour_folder([RED, BLUE, RED, BLUE, RED]), tmp_path / "notes.jsonl"
    looked: list[int] = []
    look = Judge.look

    def counting(self: Judge, images: Tensor) -> list[Seen]:
        if sum(looked) >= 3:
            raise KeyboardInterrupt
        looked.append(len(images))
        return look(self, images)

    monkeypatch.setattr(Judge, "look", counting)
    with pytest.raises(KeyboardInterrupt):
        observe_folder(find_images(folder), judge, notes, batch_size=1)
    with notes.open("a") as stream:  # as a process killed within a write leaves it
        stream.write('{"mark": ["x", 1')
    monkeypatch.setattr(Judge, "look", look)
    expected = observe_folder(find_images(folder), judge, tmp_path / "fresh.jsonl")
    looked.clear()
    monkeypatch.setattr(Judge, "look", lambda self, images: looked.append(len(images)) or look(self, images))
    assert observe_folder(find_images(folder), judge, notes) == expected
    assert looked == [2]
    (folder / "prompt_0" / "img_1.png").write_bytes((folder / "prompt_0" / "img_0.png").read_bytes())
    changed = observe_folder(find_images(folder), judge, notes)
    assert looked == [2, 1]  # a file that has changed is looked at again
    assert changed[1].probabilities == changed[0].probabilities
    other = Judge(judge.detector, judge.classifier, {"classifier": "another"})
    observe_folder(find_images(folder), other, notes)
    assert looked == [2, 1, 5]  # and so is all by another judge


def test_figures_and_outcomes_by_hand(colour_folder: Callable[..., Path], judge: Judge, tmp_path: Path) -> None:
    folder = colour_folder([RED] * 20, [RED, BLUE] * 10 + [GREEN], [GREEN])
    figures = measure(find_images(folder), seen_as(folder, judge, tmp_path / "n"), TARGET, tolerance=0.3)
    block = figures.attributes["tint"]
    shares = {name: share.value for name, share in block.frequencies.items()}
    assert (block.tv.value, block.bias.value, shares) == (0.25, 0.5, {"red": 0.75, "blue": 0.25})
    assert (block.prompts_off_target, block.prompts_on_target, block.prompts_inconclusive) == (1, 1, 0)
    first, second, third = (entry.attributes["tint"] for entry in figures.per_prompt)
    assert first.p_value_holm == pytest.approx(2 * 2 * 0.5**20)
    assert second.tv_bound == pytest.approx(stats.beta.ppf(0.95, 11, 10) - 0.5)
    assert (first.outcome, second.outcome, third.outcome) == ("off_target", "on_target", "inconclusive")
    assert figures.joint_classes is None
    judged = verdict(figures, 0.3)
    assert (judged.outcome, judged.headline) == ("off_target", "Misses its target in 1 of 2 prompts.")
    words = "Of 2 prompts, 1 misses the target, 1 is within 0.3 of it, 0 are inconclusive."
    assert judged.statements["tint"].endswith(words)


@pytest.mark.parametrize(
    ("colours", "tolerance", "outcome"),
    [
        ([RED, BLUE] * 30, 0.2, "on_target"),
        ([RED, BLUE] * 3, 0.1, "inconclusive"),
        ([GREEN], 0.1, "inconclusive"),
        ([RED] * 30, 0.1, "off_target"),
    ],
)
def test_a_verdict_says_no_more_than_it_may(
    colours: list[tuple[int, int, int]],
    tolerance: float,
    outcome: str,
    colour_folder: Callable[..., Path],
    judge: Judge,
    tmp_path: Path,
) -> None:
    folder = colour_folder(colours)
    figures = measure(find_images(folder), seen_as(folder, judge, tmp_path / "n"), TARGET, tolerance=tolerance)
    assert verdict(figures, tolerance).outcome == outcome


def test_pairs_are_of_equal_prompt_and_noise(colour_folder: Callable[..., Path], judge: Judge, tmp_path: Path) -> None:
    one, other = (
        colour_folder([RED, BLUE], [RED, RED], name="one"),
        colour_folder([BLUE, RED, RED], [RED], name="other"),
    )
    (other / "prompt_0" / "img_1.png").write_bytes(b"cut")
    folders = find_images(one), find_images(other)
    seen = [observe_folder(folder, judge, tmp_path / str(index)) for index, folder in enumerate(folders)]
    pairs = same_noise_pairs(folders[0], seen[0], folders[1], other_seen=seen[1])
    assert [(folders[0].images[a].file, folders[1].images[b].file) for a, b in pairs] == [
        ("prompt_0/img_0.png",) * 2,
        ("prompt_1/img_0.png",) * 2,
    ]


class _Page(HTMLParser):
    """Tags, and every address that a browser would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "srcset", "href", "data")]


def test_a_whole_audit_of_a_damaged_folder(colour_folder: Callable[..., Path], judge: Judge, tmp_path: Path) -> None:
    prompts = ["a photo of <script>alert(1)</script> & $5 of $x$", 'a "quoted" prompt']
    folder = colour_folder([RED, BLUE, RED, GREEN, RED], [BLUE] * 5)
    original = colour_folder([RED] * 5, [BLUE] * 5, name="original")
    whole = (folder / "prompt_1" / "img_2.png").read_bytes()
    (folder / "prompt_1" / "img_2.png").write_bytes(whole[:-30])
    (folder / "prompt_0" / "img_1.png").unlink()
    (folder / "prompt_0" / "<img src=x>.txt").write_text("a stranger")
    settings = AuditSettings(
        folder=find_images(folder, prompts),
        target=BOTH,
        out=tmp_path / "out",
        reference=find_images(original, prompts),
        command="fairlit <audit>",
    )
    results = run_audit(settings, judge)
    audited = results.audited
    assert (audited.images, audited.with_face, audited.no_face, audited.damaged) == (9, 7, 1, 1)
    assert {entry.file for entry in audited.not_counted} == {
        "prompt_0/img_1",
        "prompt_0/<img src=x>.txt",
        "prompt_1/img_2.png",
    }
    assert audited.without_face == ("prompt_0/img_3.png",)
    assert AuditResults.read(tmp_path / "out") == results
    assert json.loads((tmp_path / "out" / "results.json").read_text())["schema"] == 1
    with (tmp_path / "out" / "per_image.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["status"] for row in rows if row["folder"] == "audited"].count("face") == 7
    assert len(rows) == 9 + 10
    assert {row["prompt"] for row in rows} == set(prompts)
    for name in ("shares", "prompts_tint", "prompts_tone", "joint"):
        assert (tmp_path / "out" / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert b"</svg>" in (tmp_path / "out" / "figures" / f"{name}.svg").read_bytes()
    page = (tmp_path / "out" / "report.html").read_text()
    read = _Page()
    read.feed(page)
    assert "script" not in read.tags
    assert "a photo of &lt;script&gt;alert(1)&lt;/script&gt; &amp; $5 of $x$" in page
    assert all(address.startswith("data:") for address in read.addresses)
    assert not re.search(r"url\(|@import|https?://", page)
    assert read.tags.count("img") == 4 + 8 + 2 * 8  # charts, tiles, pairs


def test_prompts_are_ordered_and_shown_by_distance_where_the_target_is_not_uniform(
    colour_folder: Callable[..., Path], judge: Judge, tmp_path: Path
) -> None:
    """Of a target of three to one, the prompt that meets it is biased, and one without any bias misses it."""
    uneven = TargetDistribution({"tint": {"red": 0.75, "blue": 0.25}})
    folder = colour_folder([RED, RED, RED, BLUE] * 2, [RED, BLUE] * 4, [BLUE] * 8)
    prompts = ["on target", "without bias", "all blue"]
    settings = AuditSettings(folder=find_images(folder, prompts), target=uneven, out=tmp_path / "out")
    figures = run_audit(settings, judge).figures
    by_prompt = {entry.prompt: entry.attributes["tint"] for entry in figures.per_prompt}
    assert [(by_prompt[prompt].bias.value, by_prompt[prompt].tv.value) for prompt in prompts] == [
        (0.5, 0.0),
        (0.0, 0.25),
        (1.0, 0.75),
    ]
    assert figures.uniform_blocks == []
    assert [entry.prompt for entry in sorted_by_deviation(figures, "tint")] == ["all blue", "without bias", "on target"]
    page = (tmp_path / "out" / "report.html").read_text()
    assert "The furthest from the target first. Distance to the target in red" in page
    assert "<td>bias</td>" not in page
    assert "<th>bias</th>" not in page
    assert "Bias" not in page
    texts = [text.get_text() for text in prompts_chart(figures, "tint", place=0)(8.6).axes[0].texts]
    assert [text for text in texts if re.fullmatch(r"\d\.\d\d", text)] == ["0.75", "0.25", "0.00"]
    assert "distance" in texts
    for width in (NARROW, WIDE):  # nothing is cut off
        figure = prompts_chart(figures, "tint", place=0)(width)
        box = figure.get_tightbbox()
        assert 0 <= box.x0 < box.x1 <= width
    assert "bias" not in texts


def test_bias_stands_beside_the_distance_where_the_target_is_uniform(
    colour_folder: Callable[..., Path], judge: Judge, tmp_path: Path
) -> None:
    target = TargetDistribution({"tint": {"red": 0.5, "blue": 0.5}, "tone": {"light": 0.75, "dark": 0.25}})
    folder = colour_folder([RED, BLUE] * 2, [RED] * 4)
    figures = run_audit(AuditSettings(folder=find_images(folder), target=target, out=tmp_path / "out"), judge).figures
    assert figures.uniform_blocks == ["tint"]
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("<tr><td>bias</td>") == 1
    assert "It is left out for tone, joint classes" in page
    texts = [text.get_text() for text in prompts_chart(figures, "tint", place=0)(8.6).axes[0].texts]
    assert [text for text in texts if re.fullmatch(r"\d\.\d\d", text)] == ["1.00", "0.00"]
    assert "bias" in texts


def test_an_audit_without_any_face_says_so(colour_folder: Callable[..., Path], judge: Judge, tmp_path: Path) -> None:
    results = run_audit(
        AuditSettings(folder=find_images(colour_folder([GREEN] * 3)), target=BOTH, out=tmp_path / "out"), judge
    )
    assert results.verdict.headline == "No face was found in any image: there is nothing to judge."
    assert "nothing to judge" in (tmp_path / "out" / "report.html").read_text()
    assert AuditResults.read(tmp_path / "out" / "results.json") == results  # unknown figures are equal too


class Unsure(Tint):
    """Brings a validation by which it takes everything for red, and knows light from dark."""

    @property
    def confusion(self) -> dict[str, Tensor]:
        return {"tint": torch.tensor([[29, 0], [43, 0]]), "tone": torch.tensor([[9, 1], [1, 9]])}


def test_a_judge_that_has_learnt_nothing_stands_in_red_above_everything(
    colour_folder: Callable[..., Path], judge: Judge, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = find_images(colour_folder([RED, BLUE] * 3))
    unsure = Judge(judge.detector, Unsure().freeze(), judge.names)
    with caplog.at_level("WARNING", "fairlit"):
        results = run_audit(AuditSettings(folder=folder, target=BOTH, out=tmp_path / "out"), unsure)
    assert results.judge.balanced_accuracy == {"tint": 0.5, "tone": 0.9}
    assert results.judge.learnt_nothing == ("tint",)
    assert AuditResults.read(tmp_path / "out" / "results.json").judge == results.judge
    page = (tmp_path / "out" / "report.html").read_text()
    box = page.index('<section class="alarm"')
    assert box < page.index('<section class="verdict')
    assert "no more than chance about tint (balanced accuracy 0.50)" in page
    [told] = [record.getMessage() for record in caplog.records]
    assert told.startswith("classifier: has learnt nothing about 'tint'")
    tone = TargetDistribution({"tone": {"light": 0.5, "dark": 0.5}})  # of which it knows
    run_audit(AuditSettings(folder=folder, target=tone, out=tmp_path / "tone"), unsure)
    assert '<section class="alarm"' not in (tmp_path / "tone" / "report.html").read_text()


def test_a_report_says_that_there_are_too_many_joint_classes(
    colour_folder: Callable[..., Path], judge: Judge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = AuditSettings(folder=find_images(colour_folder([RED, BLUE])), target=BOTH, out=tmp_path / "few")
    assert run_audit(settings, judge).figures.joint_classes is not None
    reason = "4 joint classes are more than 3: figures are of each attribute alone"
    assert reason not in (tmp_path / "few" / "report.html").read_text()
    monkeypatch.setattr(distribution, "MAX_MEASURED_CLASSES", 3)
    results = run_audit(dataclasses.replace(settings, out=tmp_path / "many"), judge)
    assert results.figures.joint_classes is None
    assert list(results.figures.attributes) == ["tint", "tone"]
    assert reason in (tmp_path / "many" / "report.html").read_text()
