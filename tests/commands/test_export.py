"""`podium export` as a person meets it."""

from tests.commands.exams import exam


def test_export_writes_a_log_beside_the_rows(tmp_path, podium) -> None:
    folder = exam(tmp_path / "sat", 0.9, 1)
    said = podium("export", folder)
    assert said.code == 0, said.error
    assert "48 samples" in said.out
    assert (folder / "inspect.eval").read_bytes()[:4] == b"PK\x03\x04"
    wrong = podium("export", folder, "--out", tmp_path / "log.txt")
    assert (wrong.code, "unknown ending" in wrong.error) == (2, True)
