"""SIGKILL at random moments: the old file or the new one, whole, and no litter.

Long runs: ``python -m tests.attacks.kills --kills 100 --seed S``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from attacks import kills

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="needs fork and its SIGKILL"
)


def test_a_save_killed_at_each_of_its_steps_leaves_the_old_or_the_new() -> None:
    """Every file opened, flushed, renamed or removed: killed just before it."""
    writer = kills.WRITERS["ngram"]
    kills.import_all()
    with kills.surroundings():
        Path("text.txt").write_text(kills.TEXT)
        before, versions, seen = kills.files(), [], []
        for arguments in writer.arguments:
            _, steps = kills.measured(writer, arguments)
            versions.insert(0, kills.versions_of(writer))
        for step in range(1, steps + 1):
            process, _ = kills.run_forked(writer, writer.arguments[0], step)
            assert kills.wait_or_kill(process, 60) == -9
            kills.verify(writer, before, versions)
            seen.append(versions.index(kills.versions_of(writer)))
        assert seen[0] == 0
        assert seen[-1] == 1
        assert seen == sorted(seen)
        kills.measured(writer, writer.arguments[0])
        assert kills.files() - before == set(writer.files)


@pytest.mark.slow
@pytest.mark.parametrize("writer", kills.WRITERS)
def test_killed_at_random_moments(writer: str) -> None:
    kills.import_all()
    with kills.surroundings():
        tally = kills.attack(writer, 4, seed=0)
    assert tally.kills == 4
