"""The tokenizer that the tests of the engine use."""

from tests.generate.conftest import tokenizer  # noqa: F401
