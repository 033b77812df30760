from __future__ import annotations

import pytest
from measured import figures
from rich.console import Console

from fairlit.results.tables import markdown_table, results_table, table_rows
from fairlit.terminal import plain_console


def test_rows_of_one_attribute_by_hand() -> None:
    before, after = figures(1.0, ["gender"]), figures(0.6, ["gender"])
    rows = {row[0]: row[1:] for row in table_rows({"before": before, "after": after}) if row}
    bias = after.distribution.attributes["gender"].bias
    only = before.distribution.attributes["gender"].bias
    assert 0.8 < only.low < only.high == 1  # twenty of one class, twice
    assert rows["bias, gender"][0] == f"1.000 [{only.low:.3f}, 1.000]"
    assert rows["bias, gender"][1:] == [f"0.200 [{bias.low:.3f}, {bias.high:.3f}]", f"{bias.floor:.3f}"]
    assert rows["distance to target, gender"][0].startswith("0.500 [")
    assert rows["distance to target, gender"][1].startswith("0.100 [")
    assert rows["  share female"] == ["1.000", "0.600", "0.500"]
    assert rows["  share male"] == ["0.000", "0.400", "0.500"]
    assert rows["CLIP-I to the reference images"][0].startswith("1.000")
    assert rows["CLIP-I to another prompt's reference images"][:2] == ["0.000", "0.000"]
    assert rows["images with a face"] == ["1.000", "1.000", "1"]
    assert rows["predictions under 0.8"] == ["0.000", "0.000", "0"]
    assert not any("joint" in name or "DINO" in name for name in rows)


def test_joint_figures_and_three_variants() -> None:
    variants = {name: figures(share, ["gender", "age"]) for name, share in (("a", 1.0), ("b", 0.7), ("c", 0.5))}
    rows = table_rows(variants)
    names = [row[0] for row in rows if row]
    assert [name for name in names if name.startswith("bias, ")] == ["bias, gender"]  # of a uniform target alone
    distances = [f"distance to target, {name}" for name in ("gender", "age", "joint")]
    assert [name for name in names if name.startswith("distance")] == distances
    assert all(len(row) in (0, 5) for row in rows)
    assert "  share young" in names


def test_figures_that_there_are_none_of() -> None:
    before = figures(0.5, ["gender"], semantics=False)
    after = figures(0.5, ["gender"], semantics=False, faces=False)
    rows = {row[0]: row[1:] for row in table_rows({"before": before, "after": after}) if row}
    assert rows["bias, gender"][1:] == ["-", "-"]
    assert rows["images with a face"] == ["1.000", "0.000", "1"]
    assert not any("CLIP" in name for name in rows)


@pytest.mark.parametrize("attributes", [["gender"], ["gender", "age"]])
def test_the_printed_table_holds_every_cell_and_the_warning(attributes: list[str]) -> None:
    columns = {"before": figures(1.0, attributes), "after": figures(0.5, attributes)}
    console = Console(width=120, force_terminal=False)
    with console.capture() as captured:
        console.print(results_table(columns, "2 prompts, 40 images"))
    text = captured.get()
    for row in table_rows(columns):
        assert all(cell.strip() in text for cell in row)
    assert "2 prompts, 40 images" in text
    assert "before" in text
    assert "at best" in text
    assert "perceived" in text
    assert "err" in text


def test_brackets_and_control_characters_in_names_are_shown() -> None:
    names = ["[red]hair[/red]", "[/]", ":smile:\x1b[31m"]
    console = plain_console(width=200, force_terminal=False)
    with console.capture() as captured:
        console.print(results_table({name: figures(0.5, names[:2]) for name in names}, "judged by [/x]"))
    text = captured.get()
    assert "\x1b" not in text
    for shown in ("distance to target, [red]hair[/red]", "bias, [/]", ":smile:\\x1b[31m", "judged by [/x]"):
        assert shown in text


def test_markdown_has_a_heading_a_rule_and_one_line_a_row() -> None:
    text = markdown_table([["", "before"], ["  share a", "0.5"], ["face", "-"]])
    assert text.splitlines() == ["|  | before |", "| --- | ---: |", "| share a | 0.5 |", "| face | - |"]
