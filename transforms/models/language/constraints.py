"""Constrained decoding: only tokens that keep an answer within its grammar.

A parser goes along with the answer. Before each token it tells which tokens of the vocabulary lead to an answer that
the grammar can still complete, and the others are ruled out (Willard & Louf 2023, "Efficient Guided Generation for
Large Language Models"). The parser is llguidance's, which keeps no automaton over the vocabulary: a grammar is ready in
about a millisecond, so that every document can have one of its own.

An answer in JSON whose tokens run out is brought to its end, with empty lists for the labels that it has not come to,
so that it can be read whatever its model was about to say: small models name the same thing over and over.

JSON has no free whitespace, for small models lose themselves in it: one space after a comma or a colon, as
`json.dumps` writes it, and none elsewhere.
"""

import graphlib
import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from schemas.errors import ConfigError, RecordError
from schemas.prompts import Grammar

if TYPE_CHECKING:
    import llguidance

_SLACK = 8
"""Tokens before the last moment at which an ending is looked for, since there are places where none fits."""

_RULE = re.compile(r"^(?=[\w-]+\s*::=)", re.MULTILINE)
_NAME = re.compile(r"[\w-]+")
_NO_NAMES = re.compile(r'"(?:\\.|[^"\\])*"|\[(?:\\.|[^\]\\])*\]|#.*')
_JSON_STYLE = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}


class Constraint:
    """Which tokens may come next in one answer.

    Args:
      matcher: llguidance's parser, at the beginning of the answer.
      endings: tokens of the ways to end an answer early, of which the grammar allows one at most places.
    """

    def __init__(self, matcher: "llguidance.LLMatcher", endings: Sequence[Sequence[int]] = ()) -> None:
        self._matcher = matcher
        self._endings = endings
        self._reserve = max(map(len, endings), default=0) + _SLACK
        self._ending: list[int] = []
        self.is_ended_early = False
        """The answer is being brought to its end before the model had ended it."""

    def restart(self) -> "Constraint":
        """The same at the beginning of the answer, for another attempt."""
        matcher = self._matcher.deep_copy()
        matcher.reset()
        return Constraint(matcher, self._endings)

    def allow(self, n_left: int | None = None) -> npt.NDArray[np.bool_]:
        """Which tokens may come next, (n_vocabulary,); those that end an answer too, where it may end here.

        Args:
          n_left: tokens that the answer may still have; as many as it likes where that is not said.

        Raises:
          RecordError: none may, or the grammar is too much for the parser.
        """
        if n_left is not None and n_left <= self._reserve and not self.is_ended_early:
            self._end_early(n_left)
        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        self._check()
        allowed = np.unpackbits(bits, bitorder="little").astype(bool)
        if not allowed.any():
            raise RecordError("grammar", "expected a token that goes on with the answer in its grammar, found none")
        if self._ending:
            allowed[:] = False
            allowed[self._ending.pop(0)] = True
        return allowed

    def _end_early(self, n_left: int) -> None:
        """From here on the shortest ending that the grammar takes, if one does and there is room for it."""
        for ending in self._endings:
            if len(ending) <= n_left and self._would_end(list(ending)):
                self._ending, self.is_ended_early = list(ending), True
                return

    def _would_end(self, ending: list[int]) -> bool:
        """Whether the answer is complete after these tokens."""
        if self._matcher.validate_tokens(ending) < len(ending):
            return False
        trial = self._matcher.deep_copy()
        return bool(trial.consume_tokens(ending) and trial.is_accepting())

    def accept(self, token: int) -> None:
        """Takes the token that came next.

        Raises:
          RecordError: the grammar does not allow it, or is too much for the parser.
        """
        self._matcher.consume_token(token)
        self._check()

    @property
    def is_finished(self) -> bool:
        """Nothing can come any more but the end."""
        return bool(self._matcher.is_stopped())

    def _check(self) -> None:
        if self._matcher.is_error():
            # Its own words may quote the text.
            raise RecordError("grammar", f"the parser gave up on the grammar: {self._matcher.stop_reason()}")


class ConstraintCompiler:
    """Makes constraints of grammars, for one vocabulary.

    Args:
      tokenizer: the tokenizer as JSON.
      stops: ids of tokens that end an answer.

    Raises:
      ConfigError: llguidance is not installed, or cannot read the tokenizer.
    """

    def __init__(self, tokenizer: str, stops: list[int]) -> None:
        try:
            import llguidance
        except ImportError as error:
            raise ConfigError(
                "expected the package llguidance for constrained decoding, found none; pip install 'spanmill[prompt]'"
            ) from error
        self._library: Any = llguidance
        try:
            self._vocabulary = llguidance.LLTokenizer(tokenizer, eos_token=stops)
        except ValueError as error:
            raise ConfigError(
                f"expected a tokenizer that llguidance reads for constrained decoding, found another: {error}"
            ) from error

    def compile(self, grammar: Grammar) -> Constraint:
        """A grammar to the constraint at the beginning of an answer.

        Raises:
          RecordError: it is no grammar of its kind, or too large.
        """
        try:
            matcher = self._library.LLMatcher(self._vocabulary, self._translate(grammar), log_level=0)
        except Exception as error:  # noqa: BLE001 - the translation raises bare exceptions
            raise RecordError("grammar", f"cannot read the {grammar.kind} grammar: {type(error).__name__}") from None
        if matcher.is_error():
            raise RecordError("grammar", f"cannot read the {grammar.kind} grammar: {matcher.stop_reason()}")
        return Constraint(matcher, self._find_endings(grammar))

    def _find_endings(self, grammar: Grammar) -> list[list[int]]:
        """Tokens of what may end a list, or an object of lists by label, wherever it is."""
        if grammar.kind != "json_schema":
            return []
        schema = json.loads(grammar.text)
        labels = schema.get("required", []) if schema.get("type") == "object" else None
        tails = [""]
        if labels is not None:
            names = [json.dumps(label, ensure_ascii=False) for label in labels]
            tails = ["".join(f", {name}: []" for name in names[at:]) + "}" for at in range(len(names), 0, -1)]
        return [self._vocabulary.tokenize_str(head + tail) for tail in tails for head in ("]", '"]')]

    def _translate(self, grammar: Grammar) -> str:
        if grammar.kind == "json_schema":
            return str(self._library.LLMatcher.grammar_from_json_schema(grammar.text, defaults=_JSON_STYLE))
        from llguidance.gbnf_to_lark import gbnf_to_lark

        return str(self._library.LLMatcher.grammar_from_lark(gbnf_to_lark(_order_rules(grammar.text))))


def _order_rules(gbnf: str) -> str:
    r"""A grammar with each rule behind those that it refers to, where none refers back to itself through others.

    llguidance's translation goes through all rules once for every link of a chain of rules that stands the other way
    round, and the grammar of a document is such a chain from its first word to its last.

    >>> _order_rules('root ::= "b" c\nc ::= "root"').splitlines()
    ['c ::= "root"', 'root ::= "b" c']
    """
    rules, references = {}, {}
    for rule in _RULE.split(gbnf):
        name, _, body = rule.partition("::=")
        if body:
            rules[name.strip()] = rule
            references[name.strip()] = set(_NAME.findall(_NO_NAMES.sub(" ", body))) - {name.strip()}
    try:
        order = graphlib.TopologicalSorter(references).static_order()
        return "\n".join(rules[name] for name in order if name in rules)
    except graphlib.CycleError:
        return gbnf
