"""Tables of notebooks: what is in them and how it is laid out."""

import re

import pandas as pd

from mmlib.figures.tables import shown


def cells(html):
    return re.findall(r"<td[^>]*>(.*?)</td>", html)


def style(html, column):
    return re.search(rf"^#T_\w+ \.col{column} {{(.*?)}}", html, re.DOTALL | re.MULTILINE)[1]


def test_numbers_words_and_long_words():
    path = "results/quick/figure3/explore_object_locations_small_mini/mm/seed1"
    table = pd.DataFrame({"frames": [2401280], "mean": [0.12345], "verdict": ["a < b"], "records": [path], "n": [None]})
    html = shown(table).to_html()
    assert cells(html)[:2] == ["2,401,280", "0.12"] and cells(html)[3].replace("<wbr>", "") == path
    assert cells(html)[3].startswith("results/<wbr>") and cells(html)[4] == ""
    assert "right" in style(html, 0) and "nowrap" in style(html, 1) and "left" in style(html, 2)
    assert "nowrap" not in style(html, 3)


def test_a_table_without_rows():
    assert cells(shown(pd.DataFrame({"claim": [], "n": []})).to_html()) == []


def test_words_are_not_markup():
    assert "<script>" not in shown(pd.DataFrame({"a": ["<script>/" + "x" * 60], "b": ["<script>"]})).to_html()


def test_verdicts_have_the_colours_of_the_page():
    html = shown(pd.DataFrame({"verdict": ["holds", "does not hold", "undecided", "not enough data"]})).to_html()
    assert re.findall(r"0 var\(--jp-(\w+)-color1\)", html) == ["success", "error", "warn"]
    assert not re.search(r"#[0-9a-f]{6}", html)  # none that is right in one theme alone
