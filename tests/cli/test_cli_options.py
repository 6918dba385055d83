"""What every command has alike, and that no option is declared twice."""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass
from typing import Any

import pytest

from hardening.command import Run
from lmsuite.cli.app import _LazyCommands
from lmsuite.cli.registry import COMMANDS
from lmsuite.errors import UsageError
from lmsuite.models.settings import CacheSettings, FeedForwardSettings, RecurrentSettings
from lmsuite.ngram.settings import NgramSettings
from lmsuite.sampling import SamplingSettings
from lmsuite.settings import declarations, read
from lmsuite.text.settings import Boundaries, TextSettings
from lmsuite.training.settings import TrainingSettings

NO_MODELS = ("corpus list", "corpus show", "corpus fetch")
NO_TEXT = (
    *("neighbours", "convert", "check", "info", "models", "demo", "serve", "vocab"),
    *NO_MODELS,
)

SETTINGS: dict[type[Any], dict[str, Any]] = {
    CacheSettings: {},
    FeedForwardSettings: {},
    NgramSettings: {},
    RecurrentSettings: {},
    SamplingSettings: {},
    TextSettings: {},
    TrainingSettings: {"epochs": 1.0, "minutes": None, "batch": 2, "learning_rate": 0.1},
}
every_settings = pytest.mark.parametrize("settings", SETTINGS, ids=lambda each: each.__name__)


def command(path: str) -> Any:
    *group, name = path.split()
    return _LazyCommands("".join(f"{word} " for word in group))[name]


@pytest.mark.parametrize("path", COMMANDS)
def test_every_command_has_the_options_that_it_could_have(path: str) -> None:
    options = {option: each for each in command(path).params for option in each.opts}
    expected = {"-q", "--quiet", "--json", "--debug"}
    expected |= set() if path in NO_MODELS else {"--models"}
    expected |= set() if path in NO_TEXT else {"--encoding"}
    assert expected <= options.keys()
    assert options["-q"] is options["--quiet"]
    if "--seed" in options:
        assert "same seed" in options["--seed"].help
    assert len(options) == sum(len(each.opts) for each in command(path).params)


@pytest.mark.parametrize("path", COMMANDS)
def test_every_option_says_what_it_does(path: str) -> None:
    for each in command(path).params:
        if each.param_type_name == "option":
            assert each.help and each.help.endswith((".", ")")), each.opts


@every_settings
def test_defaults_pass_their_own_check(settings: type[Any]) -> None:
    made = settings(**SETTINGS[settings])
    assert is_dataclass(made)
    recorded = {each.name: getattr(made, each.name) for each in fields(made)}
    assert read(settings, recorded, "the model") == made


@every_settings
def test_every_bound_is_enforced_at_its_edge(settings: type[Any]) -> None:
    """The message has the field, the value and the limit; the error has them as values."""
    for name, declared in declarations(settings).items():
        if declared.many or declared.kind not in (int, float):
            continue
        bounds = declared.setting
        outside = [] if bounds.minimum is None else [bounds.minimum - 1]
        outside += [] if bounds.above is None else [bounds.above]
        outside += [] if bounds.maximum is None else [bounds.maximum + 1]
        outside += [] if bounds.below is None else [bounds.below]
        for value in [*outside, float("nan"), "much"]:
            if declared.kind is int and isinstance(value, float) and value == value:
                value = int(value)
            with pytest.raises(UsageError, match=f"{name} must be .*, not ") as refused:
                settings(**SETTINGS[settings] | {name: value})
            assert refused.value.field == name


@every_settings
def test_choices_are_taken_by_name_and_nothing_else_is(settings: type[Any]) -> None:
    for name, declared in declarations(settings).items():
        for choice in declared.choices:
            needed = {"cutoffs": (500,)} if (name, choice) == ("softmax", "adaptive") else {}
            made = settings(**SETTINGS[settings] | {name: choice} | needed)
            assert getattr(made, name) == choice
        if declared.choices:
            for wrong in ("nonsense", 3):
                with pytest.raises(UsageError, match=f"{name} must be one of "):
                    settings(**SETTINGS[settings] | {name: wrong})


def test_an_enumeration_is_meant_by_its_name() -> None:
    assert TextSettings(boundaries="lines").boundaries is Boundaries.LINES  # type: ignore[arg-type]
    for wrong in ("nonsense", None):
        with pytest.raises(UsageError, match="boundaries must be one of stream, lines"):
            TextSettings(boundaries=wrong)  # type: ignore[arg-type]


def test_a_record_that_is_none_is_refused_by_what_is_wrong() -> None:
    from lmsuite.errors import ModelFileError

    for recorded, said in (
        ({}, "lacks the setting 'half_life'"),
        ({"half_life": 4.0, "more": 1}, "has an unknown setting 'more'"),
        ({"half_life": "much"}, "the setting 'half_life' must be a number, not 'much'"),
    ):
        with pytest.raises(ModelFileError, match=said):
            read(CacheSettings, recorded, "the cache")


def test_messages_spell_the_option_of_the_command(lm: Run, in_workplace: Any) -> None:
    assert (
        "--temp must be finite and at least 0, not inf"
        in lm("sample", "words", "--temp", "inf").err
    )
    assert "--n must be at least 1, not 0" in lm("train", "ngram", "play.txt", "--n", "0").err
    refused = lm("train", "rnn", "play.txt", "--lr", "-1")
    assert refused.code == 2
    assert "--lr must be above 0, not -1" in refused.err


def test_json_says_what_the_text_says(lm: Run, in_workplace: Any, tmp_path: Any) -> None:
    models = ("--models", str(tmp_path))
    trained = json.loads(lm("train", "ngram", "play.txt", "-q", "--json", *models).out)
    assert trained["model"] == "ngram"
    assert trained["validation"]["perplexity"] > 1
    assert trained["file"].endswith("ngram.safetensors")
    path = str(tmp_path / "ngram.safetensors")
    mixed = json.loads(lm("mix", path, "cache", "-q", "--json", "--name", "m", *models).out)
    assert [member["kind"] for member in mixed["members"]] == ["ngram", "cache"]
    converted = json.loads(lm("convert", path, str(tmp_path / "x.arpa"), "-q", "--json").out)
    assert converted["bytes"] == (tmp_path / "x.arpa").stat().st_size
    pruned = json.loads(
        lm("prune", path, "--entropy", "1e-3", "--name", "p", "--json", *models).out
    )
    assert pruned["model"] == "p"
