import pytest

from heddle.output import duration, percent, print_table, rate


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0, "0 bit/s"),
        (9.5e6, "9.5 Mbit/s"),
        (4e11, "400 Gbit/s"),
        (999_999.9, "1 Mbit/s"),
        (12.34, "12.3 bit/s"),
    ],
)
def test_a_rate_has_the_unit_that_people_read(value, text):
    assert rate(value) == text


@pytest.mark.parametrize(("value", "text"), [(None, "–"), (0, "0 ns"), (1e-6, "1 µs"), (2.5e-3, "2.5 ms"), (2, "2 s")])
def test_a_duration_has_the_unit_that_people_read(value, text):
    assert duration(value) == text


def test_a_share_is_a_percentage():
    assert percent(0.95) == "95.0 %"
    assert percent(None) == "–"


def test_a_table_in_a_pipe_is_not_cut(capsys):
    print_table(("a", "b>"), [("x" * 500, "[bold]1[/bold]")], "none")

    out = capsys.readouterr().out
    assert "x" * 500 in out
    assert "[bold]1[/bold]" in out


def test_a_table_without_rows_is_a_sentence(capsys):
    print_table(("a",), [], "Nothing is here.")

    assert capsys.readouterr().out == "Nothing is here.\n"
