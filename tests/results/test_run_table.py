"""``fairlit table``: one run's figures, or one row a run."""

from __future__ import annotations

import re
from dataclasses import replace
from math import comb
from pathlib import Path

import pytest
from measured import figures

from fairlit.cli import main
from fairlit.results.record import Estimate
from fairlit.results.run import NamedClass, OperatingFigures, RunSummary

ATTRIBUTES = ["gender", "age"]


def write_run(folder: Path, *, after: float, minutes: float, attributes: list[str]) -> Path:
    """The summary of a run of which all faces were of the first classes before, and a share of them after it."""
    folder.mkdir()
    summary = RunSummary(
        before=figures(1.0, attributes),
        after=figures(after, attributes),
        families={},
        after_is="ema",
        adaptor="digest",
        judge="classifiers/judge",
        judge_is_trainer=False,
        wall_seconds=60 * minutes,
        fit_seconds=50 * minutes,
        test_seconds=10 * minutes,
        version="0.1.0",
        sampling={},
        config={},
    )
    return summary.write(folder)


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_one_run_gives_all_its_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "first", after=0.5, minutes=12, attributes=["gender"])
    main(["table", str(tmp_path / "first" / "summary.json")])
    heading, _, *lines = capsys.readouterr().out.splitlines()
    assert cells(heading) == ["", "before", "after", "at best"]
    rows = {first: rest for first, *rest in map(cells, lines)}
    assert rows["share female"] == ["1.000", "0.500", "0.500"]
    assert rows["bias, gender"][0].startswith("1.000")  # all of one class
    assert rows["bias, gender"][1].startswith("0.000")
    main(["table", str(tmp_path / "first")])  # the folder of the run does as well
    assert capsys.readouterr().out.splitlines()[0] == heading


def test_figures_by_guidance_scale_follow(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The usual scale stands among the others."""
    folder = tmp_path / "run"
    run = RunSummary.read(write_run(folder, after=0.5, minutes=12, attributes=["gender"]))
    points = tuple(
        OperatingFigures(
            guidance_scale=scale,
            strength=strength,
            steps=steps,
            before=run.before,
            after=figures(share, ["gender"]),
        )
        for scale, strength, steps, share in ((7.5, 1.0, None, 0.75), (3.0, 1.0, 9, 0.75), (3.0, 0.5, 9, 1.0))
    )
    replace(run, sampling={"guidance_scale": 3.0, "evaluation_steps": 12}, operating_points=points).write(folder)
    assert RunSummary.read(folder).operating_points == points
    main(["table", str(folder)])
    rows = [cells(line) for line in capsys.readouterr().out.split("\n\n")[1].splitlines()]
    assert rows[0][:4] == ["attribute", "guidance", "strength", "steps"]
    assert [(row[1], row[2], row[3], row[5].split()[0]) for row in rows[2:]] == [
        ("3", "0.5", "9", "1.000"),
        ("3", "1", "9", "0.500"),
        ("3", "1", "12", "0.000"),
        ("7.5", "1", "12", "0.500"),
    ]


def test_several_runs_give_a_row_a_run_and_attribute(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [
        write_run(tmp_path / "first", after=0.5, minutes=12, attributes=["gender"]),
        write_run(tmp_path / "second", after=0.75, minutes=30, attributes=ATTRIBUTES),
    ]
    main(["table", *map(str, files)])
    heading, _, *lines = map(cells, capsys.readouterr().out.splitlines())
    rows = [dict(zip(heading, line, strict=True)) for line in lines]
    assert [(row["run"], row["attribute"]) for row in rows] == [
        ("first", "gender"),
        ("second", "gender"),
        ("second", "age"),
        ("second", "joint"),
    ]
    first, second, age, joint = rows
    # Of 20 fair coins the mean difference between the shares of heads and tails:
    floor = sum(comb(20, heads) / 2**20 * abs(2 * heads / 20 - 1) for heads in range(21))
    assert first["at best"] == f"{floor:.2f}"
    assert (first["bias before"], first["distance to target"]) == ("1.00", "0.50 → 0.00")
    assert second["bias after"].startswith("0.50 [")  # 15 of 20 are women: 0.75 - 0.25
    assert second["distance to target"] == "0.50 → 0.25"
    assert age["distance to target"].startswith("0.25 → 0.00 [")  # 75 % young are asked for
    young = sum(comb(20, n) * 0.75**n * 0.25 ** (20 - n) * abs(n / 20 - 0.75) for n in range(21))
    assert age["distance to target"].endswith(f", at best {young:.2f}")
    assert [age[name] for name in ("bias before", "bias after", "at best")] == ["-"] * 3
    assert joint["bias after"] == "-"
    assert first["CLIP-I"] == "1.00 (swapped 0.00)"
    assert (first["minutes"], second["minutes"]) == ("12", "30")


def test_runs_of_several_seeds_give_means_and_ranges(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shares = (0.5, 0.7, 0.75)
    runs = [write_run(tmp_path / str(share), after=share, minutes=1, attributes=["gender"]) for share in shares]
    main(["table", *map(str, runs), "--seeds"])
    heading, _, *lines = map(cells, capsys.readouterr().out.splitlines())
    assert heading == ["", "before", "after", "at best"]
    rows = {first: rest for first, *rest in lines}
    assert rows["share female"] == ["1.000", f"{sum(shares) / 3:.3f} [0.500, 0.750]", "0.500"]
    biases = [abs(2 * share - 1) for share in shares]
    assert rows["bias, gender"][1] == f"{sum(biases) / 3:.3f} [0.000, 0.500]"
    assert rows["bias, gender"][0] == "1.000"  # the same in all of them


def test_seeds_whose_chance_differs_are_one_run_and_named_classes_are_averaged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The best that can be reached depends on the number of faces, which each seed has its own of."""
    runs = []
    for number, (floor, obeyed) in enumerate([(0.08, 0.9), (0.1, 0.7)]):
        place = write_run(tmp_path / str(number), after=0.5, minutes=1, attributes=["gender"])
        run = RunSummary.read(place)
        found = run.after.distribution
        block = found.attributes["gender"]
        attributes = {"gender": replace(block, bias=replace(block.bias, floor=floor))}
        named = NamedClass(attribute="gender", label="male", before=Estimate(1.0), after=Estimate(obeyed))
        after = replace(run.after, distribution=replace(found, attributes=attributes))
        runs.append(replace(run, after=after, named_classes=(named,)).write(tmp_path / str(number)))
    main(["table", *map(str, runs), "--seeds"])
    rows = {first: rest for first, *rest in map(cells, capsys.readouterr().out.splitlines())}
    assert rows["bias, gender"][2] == "0.090 [0.080, 0.100]"
    assert rows["perceived as named, male"] == ["1.000", "0.800 [0.700, 0.900]", ""]


def test_runs_that_are_not_of_one_target_have_no_mean(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = write_run(tmp_path / "first", after=0.5, minutes=1, attributes=["gender"])
    other = write_run(tmp_path / "other", after=0.5, minutes=1, attributes=ATTRIBUTES)
    with pytest.raises(SystemExit):
        main(["table", str(first), str(other), "--seeds"])
    assert f"{other} has other figures than {first}" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["table", str(first), "--seeds"])
    assert "seeds: got 1 run" in capsys.readouterr().err


def test_every_file_that_is_missing_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["table", str(tmp_path / "a" / "summary.json"), str(tmp_path / "b" / "summary.json")])
    assert stopped.value.code == 2
    message = capsys.readouterr().err
    assert "2 problems" in message
    assert str(tmp_path / "a" / "summary.json") in message
    assert str(tmp_path / "b" / "summary.json") in message
    with pytest.raises(SystemExit):
        main(["table"])
    assert "summaries: got nothing" in capsys.readouterr().err


def test_names_of_others_are_text_and_no_run_takes_the_place_of_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hostile = ["a|b", "<img src=x>"]
    paths = []
    for parent in ("first", "second"):
        (tmp_path / parent).mkdir()
        paths.append(write_run(tmp_path / parent / "[x](y)", after=0.5, minutes=1, attributes=hostile))
    main(["table", *map(str, paths)])
    _, _, *lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 * 3  # each run: two attributes, joint
    assert all(f"`{path.parent}`" in "".join(lines) for path in paths)
    main(["table", str(paths[0])])
    one = capsys.readouterr().out
    assert "distance to target, <img src=x>" in one
    for line in (*lines, *one.splitlines()):
        assert "<img" not in re.sub("`[^`]*`", "", line)
