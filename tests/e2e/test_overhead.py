"""What a request costs beside a bare server: see docs/performance.md."""

import subprocess
import sys
from pathlib import Path

import pytest

SMOKE = Path(__file__).parents[2] / "benchmarks" / "smoke.py"


@pytest.mark.slow
def test_a_request_costs_not_much_more_beside_a_bare_server_than_it_did():
    done = subprocess.run([sys.executable, SMOKE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
