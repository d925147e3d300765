"""Rule sets as data: what they hold, and how they are written on the command line."""

import re
from dataclasses import fields, replace

import pytest

from backlight.errors import BadInputError
from backlight.operators.ruleset import (
    DECONVNET,
    GRADIENT,
    GUIDED,
    MASKED,
    RULE_SETS,
    RuleSet,
    as_rules,
    parse_rules,
)


def test_the_rule_sets():
    assert RULE_SETS == {"deconvnet": DECONVNET, "guided": GUIDED, "gradient": GRADIENT, "masked": MASKED}
    assert DECONVNET.to_dict() == {
        "name": "deconvnet",
        "rectifier": "deconvnet",
        "unpool": "add",
        "average_pool": "fill",
        "lrn": "identity",
        "leaky": "relu",
        "gates": "frozen",
        "squash": "error",
    }
    assert replace(DECONVNET, name="guided", rectifier="guided") == GUIDED
    assert MASKED.to_dict() == DECONVNET.to_dict() | {"name": "masked", "masked_levels": 6}
    for rules in RULE_SETS.values():
        assert RuleSet(**rules.to_dict()) == rules


def test_only_the_gradient_by_any_name_is_the_plain_gradient():
    assert replace(GRADIENT, name="mine").is_plain_gradient
    changed = {
        "unpool": "assign-last",
        "average_pool": "fill",
        "lrn": "frozen",
        "gates": "frozen",
        "squash": "error",
    }
    for option, value in (changed | {"rectifier": "guided", "leaky": "relu"}).items():
        assert not replace(GRADIENT, **{option: value}).is_plain_gradient, option
    assert not DECONVNET.is_plain_gradient


@pytest.mark.parametrize("name", RULE_SETS)
def test_a_name_alone_is_the_rule_set_itself(name):
    assert parse_rules(name) is RULE_SETS[name]
    assert parse_rules(f" {name} ") is RULE_SETS[name]


def test_options_change_it_and_its_name():
    found = parse_rules("deconvnet, unpool=assign-largest,average-pool = transpose")
    assert found == RuleSet("by hand", unpool="assign-largest", average_pool="transpose")
    assert found.name == "deconvnet,unpool=assign-largest,average_pool=transpose"


SPELLINGS = {
    "deconvnet,unpool=assign-last,average_pool=transpose": [
        "deconvnet,average-pool=transpose,unpool=assign-last",
        " deconvnet , unpool = assign_last , average_pool = transpose",
        "deconvnet,average_pool=transpose,rectifier=deconvnet,unpool=add,unpool=assign-last",
    ],
    "guided": ["guided,rectifier=guided", "guided,average-pool=fill"],
    "gradient,gates=frozen": ["gradient,gates=frozen,lrn=vjp"],
    "masked,masked_levels=2": ["masked, masked-levels = 2", "masked,rectifier=deconvnet,masked_levels=2"],
    "deconvnet": ["deconvnet,masked_levels=0"],
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_every_spelling_has_one_name_which_is_read_as_the_same_rules(name):
    for text in [name, *SPELLINGS[name]]:
        found = parse_rules(text)
        assert found.name == found.spelled == name, text
        assert found == parse_rules(name), text
        assert found.to_dict() == parse_rules(name).to_dict(), text


def test_rules_are_equal_by_their_options_whatever_they_are_called():
    mine = RuleSet("mine", rectifier="guided")
    assert mine == GUIDED
    assert hash(mine) == hash(GUIDED)
    assert mine.spelled == "guided"
    assert mine != DECONVNET
    assert (
        RuleSet("guided of a kind", gates="vjp", leaky="literal").spelled
        == "deconvnet,leaky=literal,gates=vjp"
    )


@pytest.mark.usefixtures("untyped")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("deconv", "rule set 'deconv' does not exist; choose one of deconvnet, guided, gradient, masked"),
        ("", "rule set '' does not exist; choose one of deconvnet, guided, gradient, masked"),
        (
            "guided,pool=add",
            "rule option 'pool' does not exist; choose one of rectifier, unpool, average_pool, lrn, ",
        ),
        ("guided,name=x", "rule option 'name' does not exist; choose one of rectifier, unpool"),
        (
            "guided,unpool",
            "rule option unpool='' does not exist; choose one of add, assign-largest, assign-last",
        ),
        (
            "guided,lrn=no",
            "rule option lrn='no' does not exist; choose one of identity, frozen, inverse, vjp",
        ),
        (
            "masked,masked_levels=-1",
            "rule option masked_levels='-1' does not exist; choose one of 0, 1, 2, …",
        ),
        (
            "masked,masked_levels=all",
            "rule option masked_levels='all' does not exist; choose one of 0, 1, 2, …",
        ),
    ],
)
def test_what_does_not_exist_is_refused_with_what_does(text, message):
    with pytest.raises(BadInputError, match="^" + re.escape(message)):
        parse_rules(text)


@pytest.mark.usefixtures("untyped")
@pytest.mark.parametrize("option", [field.name for field in fields(RuleSet)[1:]])
def test_a_value_that_an_option_does_not_have_is_refused(option):
    with pytest.raises(BadInputError, match=f"^rule option {option}='never' does not exist; choose one of "):
        RuleSet("mine", **{option: "never"})


def test_rules_are_taken_as_they_are_as_a_text_or_by_layer():
    text = "guided,average_pool=transpose"
    assert as_rules(GUIDED) is GUIDED
    assert as_rules(text) == parse_rules(text)
    assert as_rules({"relu1": text, "relu2": MASKED}) == {"relu1": parse_rules(text), "relu2": MASKED}


@pytest.mark.usefixtures("untyped")
@pytest.mark.parametrize("given", [3, None, ["guided"], {"relu1": 3}])
def test_what_is_no_rule_set_is_refused_with_what_is(given):
    with pytest.raises(
        BadInputError, match=r"^rules are a RuleSet .*, a text such as 'guided', or one of these"
    ):
        as_rules(given)
