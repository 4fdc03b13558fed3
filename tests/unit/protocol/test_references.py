"""References: what is one, what is wrong with one, what they are replaced by."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from intendant.protocol.references import (
    Reference,
    expand,
    expand_to_text,
    parse_reference,
    references_in,
    walk,
)


def meant(text: str) -> tuple[str, str, tuple[str, ...]]:
    reference = parse_reference(text)
    return reference.step, reference.kind, reference.path


def path_of(reference: Reference) -> object:
    return ".".join((reference.step, *reference.path))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${a.outputs}", ("a", "outputs", ())),
        ("${a.outputs.x.y}", ("a", "outputs", ("x", "y"))),
        ("${a.parameters.Args/x}", ("a", "parameters", ("Args/x",))),
        ("${a.artifacts.b\\.csv.url}", ("a", "artifacts", ("b.csv", "url"))),
        ("${a.models.output.-1.url}", ("a", "models", ("output", "-1", "url"))),
        ("${a.id}", ("a", "id", ())),
        ("${pipeline.x}", ("pipeline", "parameters", ("x",))),
        ("${parameters.x}", ("parameters", "parameters", ("x",))),
    ],
)
def test_a_reference_names_a_step_a_kind_and_a_path(
    text: str, expected: tuple[str, str, tuple[str, ...]]
) -> None:
    assert meant(text) == expected


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("${a}", "expected ${step.kind}"),
        ("${}", "expected ${step.kind}"),
        ("${a.}", "expected ${step.kind}"),
        ("${a..x}", "expected ${step.kind}"),
        ("${a.result.x}", "found 'result', expected one of outputs"),
        ("${a.parameters}", "expected a name behind parameters"),
        ("${a.artifacts}", "expected a name behind artifacts"),
        ("${a.id.x}", "expected nothing"),
        ("${a.models}", "expected input or output"),
        ("${a.models.out.0.url}", "found 'out', expected input or output"),
        ("${a.models.output}", "expected a whole number"),
        ("${a.models.output.last.url}", "found 'last', expected a whole number"),
        ("${a.models.output.0}", "expected one of id"),
        ("${a.models.output.0.weight}", "found 'weight', expected one of id"),
        ("${a.models.output.0.url.x}", "found 'x' behind url"),
    ],
)
def test_c6_each_malformed_reference_is_refused_in_its_own_words(text: str, complaint: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011  the text is looked at
        parse_reference(text)
    assert text in str(refused.value)
    assert complaint in str(refused.value)


def test_c7_several_references_in_one_text_are_all_replaced_and_the_rest_kept() -> None:
    text = "--in ${a.outputs.x} and ${a.outputs.x},${b.outputs.y}!"
    assert expand(text, path_of) == "--in a.x and a.x,b.y!"


@pytest.mark.parametrize("value", [5, 1.5, True, None, "plain $x {y}", [1, {"a": None}]])
def test_c7_what_holds_no_reference_passes_unchanged(value: object) -> None:
    assert expand(value, path_of) == value


def test_references_are_found_in_lists_and_tables_but_not_in_keys() -> None:
    value = {"${k.id}": ["${a.id}", {"x": "${b.id} ${c.id}"}], "n": 1}
    assert [reference.step for reference in references_in(value)] == ["a", "b", "c"]


def test_a_text_that_is_one_reference_takes_the_value_with_its_type() -> None:
    assert expand(["${a.outputs}", "<${a.outputs}>"], lambda _: {"x": [1, None]}) == [
        {"x": [1, None]},
        '<{"x": [1, null]}>',
    ]
    assert expand_to_text("${a.outputs}", lambda _: 7) == "7"


def test_a_value_is_never_expanded_again() -> None:
    assert expand("<${a.outputs}>", lambda _: "${b.outputs}") == "<${b.outputs}>"
    assert expand("${a.outputs}", lambda _: "${b.outputs}") == "${b.outputs}"


def test_many_references_to_something_large_are_refused_before_the_text_is_held() -> None:
    large = "x" * 1_000_000
    with pytest.raises(ValueError, match="more than 67108864 characters"):
        expand("${a.outputs} " * 1000, lambda _: large)


def test_a_doubled_dollar_is_a_plain_one() -> None:
    assert list(references_in("$${HOME} $$${a}b")) == []
    assert expand("echo $${HOME} ${a.outputs.x}", path_of) == "echo ${HOME} a.x"


def test_c9_a_path_goes_by_key_then_position_then_attribute() -> None:
    value = {"a": [SimpleNamespace(b={"c.d": 1})]}
    assert walk(value, ("a", "0", "b", "c.d")) == 1
    assert walk(value, ("a", "-1", "b")) == {"c.d": 1}


@pytest.mark.parametrize(
    "path", [("b",), ("a", "7"), ("a", "x"), ("a", "0", "z"), ("a", "__len__")]
)
def test_c9_what_is_not_there_is_named(path: tuple[str, ...]) -> None:
    with pytest.raises(LookupError, match=f"has no '{path[-1]}'"):
        walk({"a": [1]}, path)
