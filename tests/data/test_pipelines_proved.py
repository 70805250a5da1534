"""A script with a pipeline out of public code is proved by the command: killed, started again, and compared."""

import pytest
from pipelines import PIPELINES
from places import TESTS, environment

from exactloop.proving import prove_script

PUBLIC = [name for name in PIPELINES if name.startswith("public: ")]


@pytest.mark.long
@pytest.mark.parametrize("name", PUBLIC)
def test_a_script_with_a_pipeline_out_of_public_code_is_proved(
    name: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
    directory = tmp_path_factory.mktemp("proved")
    proof = prove_script(str(TESTS / "data/test_pipelines.py"), str(directory), name, "0", kills=1)
    assert proof.exact, proof
