"""A script with a pipeline out of public code is proved by the command: killed, started again, and compared."""

from pathlib import Path

import pytest
from pipelines.public import WRITTEN
from places import TESTS, environment

from exactloop.proving import prove_script

# Files with other bytes in each process, of which nothing else is other.
ANEW = [
    name for name in WRITTEN if name.startswith(("lines of gzip", "arrays of zip", "files that are shuffled, cached"))
]


@pytest.mark.long
@pytest.mark.parametrize("name", WRITTEN)
def test_a_script_with_a_pipeline_out_of_public_code_is_proved(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
    proof = prove_script(str(TESTS / "data/proved_pipeline.py"), str(tmp_path), name, kills=1 + (name in ANEW))
    assert proof.exact, proof
