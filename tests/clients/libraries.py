"""The model libraries are slow to load, so each is loaded in one of the test processes only."""

import pytest

from garrison.clients.adapters import ADAPTERS

GROUPS = {
    name: pytest.mark.xdist_group("litellm" if name in {"dspy", "litellm"} else "other model libraries")
    for name in ADAPTERS
}
