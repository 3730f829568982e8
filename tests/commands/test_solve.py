"""`podium solve`, as a person calls it."""

from tests.commands.exams import call


def test_solve_shows_attempts_limits_and_why_there_is_no_answer(model):
    done = call("solve", str(model), "What is 1 + 1?", "-n", "2", "--max-tokens", "9", "--system", "Be brief.")
    assert done.exit_code == 0, done.output
    assert done.stdout.count("9 tokens") == 2
    assert "2 of 2 attempts have no answer: 2 cut off at the token limit" in done.stdout
    assert "answer: none" in done.stdout
    for words, said in (
        (("", "-n", "1"), "the problem is empty"),
        (("What?", "--prompt", "no/such.txt"), "no such file"),
        (("What?", "--extract", "last"), "not looked for in 'last'"),
    ):
        wrong = call("solve", str(model), *words)
        assert (wrong.exit_code, said in wrong.stderr) == (2, True), wrong.output
