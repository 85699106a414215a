"""Escaping, looks and curves of the report by themselves."""

import pytest

from benchmark.core import escape
from benchmark.reporting.plots import style
from benchmark.reporting.plots.paths import mean_curve
from benchmark.reporting.tables import formats
from benchmark.reporting.tables.formats import figure
from benchmark.reporting.tables.per_task import Column
from tests.benchmark.reporting.made import finished


def run_of(seconds, rewards, seed=0, kl=None):
    curve = [
        {
            "fraction": i / (len(seconds) - 1),
            "spent": {"seconds": s},
            "metrics": {"reward": r, "kl": kl[i] if kl else 0.0},
        }
        for i, (s, r) in enumerate(zip(seconds, rewards, strict=True))
    ]
    return finished("t", "m", seed, {}, curve)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("50% & $5_a#{b}", r"50\% \& \$5\_a\#\{b\}"),
        (r"\input{x}~^", r"\textbackslash{}input\{x\}\textasciitilde{}\textasciicircum{}"),
        ("Größe → π₀ ± 1", r"Größe $\rightarrow$ $\pi$$_0$ $\pm$ 1"),
        ("猫[1]", "{[}U+732B{]}{[}1{]}"),
        ("a\n\nb", "a b"),
    ],
)
def test_latex(text, expected):
    assert escape.latex(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<b>&amp;</b>", "&lt;b&gt;&amp;amp;&lt;/b&gt;"),
        ("a|b\n# c", "a\\|b<br>\\# c"),
        ("![x](y) `z`", r"\!\[x\](y) \`z\`"),
        ("https://a.b www.c.d", "https&#58;//a.b www&#46;c.d"),
        ("a\u202eb\x00c", "a\ufffdb\ufffdc"),
    ],
)
def test_markdown(text, expected):
    assert escape.markdown(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("-0.25 (-1 to +1)", "$-$0.25 ($-$1 to +1)"), ("HH-RLHF", "HH-RLHF"), ("1.5e-05", "1.5e$-$05")],
)
def test_a_minus_is_set_as_one_and_a_hyphen_is_not(text, expected):
    assert formats._latex_number(text) == expected


def test_markdown_limit_cuts_before_escaping():
    assert escape.markdown("***abc", 4) == r"\*\*\*a…"


@pytest.mark.parametrize(
    ("value", "expected"), [(-0.0004, "0.000"), (0.0004, "0.000"), (0.41, "+0.410"), (-1234.5, "-1,234.500")]
)
def test_a_value_that_rounds_to_zero_has_no_sign(value, expected):
    column = Column("k", "t", "u", "end", lambda run: None, signed=True)
    assert figure(value, column) == expected


def test_a_look_does_not_depend_on_company_or_spelling():
    alone = style.looks(["annealed"])["annealed"]
    assert style.looks(["zopro", "annealed", "rloo"])["annealed"] == alone
    assert style.looks(["online_dpo"])["online_dpo"] == style.PALETTE["online-dpo"]
    many = style.looks([f"m{i}" for i in range(8)])
    assert len({look.colour for look in many.values()}) == 8


def test_mean_curve_against_kl_averages_both_at_equal_shares_of_the_budget():
    one, two = run_of([0, 1, 2], [0, 2, 3], kl=[0, 1, 5]), run_of([0, 1, 2], [1, 2, 5], kl=[0, 3, 1])
    xs, ys = mean_curve([one, two], "kl", "reward")
    assert (xs.tolist(), ys.tolist()) == ([0, 2, 3], [0.5, 2, 4])


def test_series_leaves_out_what_is_not_a_number():
    run = run_of([0, 1, 2], [0.5, None, float("nan")])
    xs, ys = run.series("seconds", "reward")
    assert (xs.tolist(), ys.tolist()) == ([0], [0.5])
