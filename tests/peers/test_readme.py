"""The README's commands that check torch."""

from __future__ import annotations

import pytest

from tests.test_docs import COMMANDS, needs_torch, run_command

pytestmark = pytest.mark.peers


@pytest.mark.parametrize("command", [c for c, _ in COMMANDS if needs_torch(c)])
def test_command_passes(command, tmp_path):
    done = run_command(command, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("PASS")
