"""What a comparison prints on the terminal."""

from __future__ import annotations

from dataclasses import replace

import pytest
from result_files import old_file

from fairlit.comparison.report import change_rows, headline_of
from fairlit.comparison.tables import method_table
from fairlit.results.comparison import ComparisonResults, Standing
from fairlit.results.figures import AttributeFigures


def with_uneven_targets(results: ComparisonResults) -> ComparisonResults:
    """The same figures, as if three quarters of the first class of everything had been asked for."""

    def uneven(block: AttributeFigures) -> AttributeFigures:
        first, *others = block.target
        return replace(block, target={first: 0.75, **dict.fromkeys(others, 0.25 / len(others))})

    methods = {}
    for name, method in results.methods.items():
        figures = method.figures
        blocks = {attribute: uneven(block) for attribute, block in figures.attributes.items()}
        joint = None if figures.joint_classes is None else uneven(figures.joint_classes)
        methods[name] = replace(method, figures=replace(figures, attributes=blocks, joint_classes=joint))
    return replace(results, methods=methods)


def test_bias_is_shown_where_the_target_is_uniform_alone() -> None:
    even = ComparisonResults.read(old_file("comparison"))
    uneven = with_uneven_targets(even)
    table, other = method_table(even), method_table(uneven)
    assert table.title == "distance to target and bias: joint classes"
    assert other.title == "distance to target: joint classes"
    headings = [column.header for column in table.columns]
    assert [column.header for column in other.columns] == [heading for heading in headings if heading != "bias"]
    assert headings[:3] == ["method", "distance", "bias"]
    kept = [list(column.cells) for column in table.columns if column.header != "bias"]
    assert [list(column.cells) for column in other.columns] == kept


@pytest.mark.parametrize(
    ("standing", "words"),
    [
        (Standing(best="a", not_ahead_of=("none",)), "but is not shown to be ahead of the other one."),
        (Standing(best="a", not_ahead_of=("none", "b")), "but is not shown to be ahead of any other."),
        (Standing(best="a", ahead_of=("none",), not_ahead_of=("b",)), "and is shown to be ahead of 1 of the 2 others."),
        (Standing(best="a", ahead_of=("none", "b")), "and is shown to be ahead of all 2 others."),
    ],
)
def test_headlines_cannot_be_taken_for_a_method_called_none(standing: Standing, words: str) -> None:
    results = ComparisonResults.read(old_file("comparison"))
    block = results.methods[results.reference].figures.main_block
    assert headline_of(replace(results, standing={block: standing})) == f"“a” comes nearest to the target, {words}"


def test_changes_of_bias_are_shown_where_the_target_is_uniform_alone() -> None:
    even = ComparisonResults.read(old_file("comparison"))
    titles = [cell.title for cell in change_rows(even)[0].cells if cell is not None]
    other = [cell.title for cell in change_rows(with_uneven_targets(even))[0].cells if cell is not None]
    assert "bias, gender" in titles
    assert other == [title for title in titles if not title.startswith("bias")]
