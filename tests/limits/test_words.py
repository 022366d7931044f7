"""The honest counter, held against a real tokenizer: OpenAI's cl100k and o200k, whose vocabularies litellm ships."""

import ast
import base64
import json
import random
import string
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
import tiktoken
from hypothesis import given
from hypothesis import strategies as st

from garrison.limits.words import _PIECE, count_by_words

ROOT = Path(__file__).parents[2]
CL100K = (
    "9b5ad71b2ce5302211f9c61530b329a4922fc6a4",
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+",
)
O200K = (
    "fb374d419588a4632f3f557e76b4b70aebbca790",
    (
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
        r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
        r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ),
)
"""The names are hashes of the vocabularies' addresses, as in tiktoken's cache; the patterns are tiktoken's."""


@pytest.fixture(scope="module", params=[CL100K, O200K], ids=["cl100k", "o200k"])
def real(request: pytest.FixtureRequest) -> Callable[[str], int]:
    name, pattern = request.param
    package = find_spec("litellm")
    assert package is not None
    assert package.origin is not None
    vocabulary = Path(package.origin).parent / "litellm_core_utils" / "tokenizers" / name
    ranks = {
        base64.b64decode(token): int(rank)
        for token, rank in (line.split() for line in vocabulary.read_bytes().splitlines() if line)
    }
    encoding = tiktoken.Encoding(name, pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
    return lambda text: len(encoding.encode_ordinary(text))


def english() -> list[str]:
    """The sentences in which this project's modules and functions say what they do, a folder to a text or two."""
    texts = []
    for folder in sorted({path.parent for path in ROOT.glob("src/**/*.py")}):
        nodes = [node for path in sorted(folder.glob("*.py")) for node in ast.walk(ast.parse(path.read_text("utf-8")))]
        kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        sentences = [ast.get_docstring(node) or "" for node in nodes if isinstance(node, kinds)]
        texts += ["\n".join(sentences[start::2]) for start in (0, 1)]
    return [text for text in texts if len(text) > 1000]


def code() -> list[str]:
    return [text for path in sorted(ROOT.glob("src/**/*.py")) if len(text := path.read_text("utf-8")) > 1500]


def rows() -> list[str]:
    """What tools answer: records of names, texts, numbers and moments, in JSON's usual three layouts."""
    dice = random.Random(7)  # noqa: S311 - nothing depends on its being secret
    words = [
        "order",
        "invoice",
        "status",
        "total",
        "amount",
        "created",
        "address",
        "country",
        "price",
        "quantity",
        "ticket",
        "priority",
        "subject",
    ]

    def record(depth: int) -> dict[str, object]:
        values: list[Callable[[], object]] = [
            lambda: dice.randrange(10 ** dice.randint(1, 7)),
            lambda: round(dice.uniform(0, 1000), 2),
            lambda: dice.choice([True, False, None]),
            lambda: f"2026-{dice.randint(1, 12):02}-{dice.randint(1, 28):02}T{dice.randint(0, 23):02}:30:00Z",
            lambda: " ".join(dice.choices(words, k=dice.randint(2, 8))),
            lambda: "".join(dice.choices(string.ascii_uppercase + string.digits, k=8)),
            lambda: [record(depth + 1)] if depth < 2 else [],
        ]
        return {dice.choice(words) + dice.choice(["", "_id", "At", "s"]): dice.choice(values)() for _ in range(7)}

    layouts: list[dict[str, object]] = [{}, {"indent": 2}, {"separators": (",", ":")}]
    return [json.dumps([record(0) for _ in range(8)], **layout) for layout in layouts for _ in range(20)]  # type: ignore[arg-type]


@pytest.mark.no_cover
@pytest.mark.xdist_group("tokenizers")  # which are slow to load
@pytest.mark.parametrize("texts", [english, code, rows])
def test_the_count_is_within_a_tenth_of_a_real_tokenizers(
    real: Callable[[str], int], texts: Callable[[], list[str]]
) -> None:
    ratios = [count_by_words(text) / real(text) for text in texts()]
    assert len(ratios) >= 15
    assert 0.95 <= sum(ratios) / len(ratios) <= 1.05, "all of them together"
    assert sorted(ratios)[len(ratios) // 10] >= 0.9, "nine in ten"
    assert sorted(ratios)[-len(ratios) // 10] <= 1.1, "nine in ten"
    assert min(ratios) >= 0.8
    assert max(ratios) <= 1.2


@given(st.text())
def test_text_and_its_bytes_count_alike_and_something_is_never_nothing(text: str) -> None:
    data = text.encode("utf-8", "surrogatepass")
    assert count_by_words(text) == count_by_words(data)
    assert (count_by_words(data) > 0) is bool(data)


@given(st.binary())
def test_every_byte_is_in_some_piece(data: bytes) -> None:
    from garrison.limits.words import _CLASSES  # noqa: PLC0415 - only here

    assert b"".join(_PIECE.findall(data.translate(_CLASSES))) == data.translate(_CLASSES)
