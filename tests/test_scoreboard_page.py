import base64
import io
import re
from html.parser import HTMLParser

import matplotlib.pyplot as plt
import pytest
from PIL import Image

from phutils import scoreboard, scoreboard_page


class Parsed(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.text = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture
def rows(tmp_path):
    rows = scoreboard.scoreboard(tmp_path, "quick")
    rows[0] |= {"ours": "<b>a & b</b>", "ratio": 1.237, "verdict": "reproduced"}
    rows[1] |= {"verdict": "differs"}
    return rows


def rung(model, split, rmse, ratio=(), paper=None):
    found = {"model": model, "split": split, "rmse": rmse, "ratio": list(ratio), "n_train": 1200}
    return found | {"n_test": 9, "paper": paper, "paper_ratio": paper and paper / 59.2}


LADDER = [
    rung("density and stage only", "random", [230.0, 234.0]),
    rung("diagrams, Ridge", "random", [60.0, 62.0], [1.0, 1.0], 59.2),
    rung("diagrams, Ridge", "by trajectory", [64.0, 68.0], [1.0, 1.0], 59.2),
    rung("SchNet", "random", [30.0], [0.5], 30.5),
]


def test_table_has_a_button_in_each_heading_and_a_line_for_each_row(rows):
    page = Parsed(scoreboard_page.as_html(rows, ["03_ridge"]))
    assert len(page.all("button")) == len(scoreboard_page.HEADINGS)
    assert all(attributes["type"] == "button" for attributes in page.all("button"))
    assert len(page.all("tr")) == 1 + len(rows)
    verdicts = [a["data-verdict"] for a in page.all("tr")[1:]]
    assert verdicts == [row["verdict"] for row in rows]
    assert sum(a.get("scope") == "row" for a in page.all("th")) == len(rows)


def test_table_is_escaped_and_asks_for_no_other_file(rows):
    text = scoreboard_page.as_html(rows, ["03_ridge"])
    page = Parsed(text)
    assert not page.all("b") and "<b>a & b</b>" in page.text and "1.24" in page.text
    links = {a["href"] for a in page.all("a")}
    assert links == {"03_ridge.html"}  # to chapters of the book alone
    assert not re.search(r"https?://|src=|@import|fetch\(", text)
    assert "{table_id}" not in text


def test_script_finds_the_table_and_no_heading_of_the_page(rows):
    text = scoreboard_page.as_html(rows, table_id="mine")
    assert 'id="mine"' in text and 'getElementById("mine")' in text
    assert scoreboard_page.as_html(rows).count('id="scoreboard"') == 0  # id of the page's title


def test_download_holds_the_file():
    link = Parsed(scoreboard_page.download(b"a,b\n", "x.csv", "text/csv", "as <CSV>"))
    (attributes,) = link.all("a")
    kind, data = attributes["href"].split(";base64,")
    assert kind == "data:text/csv" and base64.b64decode(data) == b"a,b\n"
    assert attributes["download"] == "x.csv" and link.text == ["as <CSV>"]


def test_image_shows_every_row(rows):
    figure = scoreboard_page.as_image(rows, "which data")
    shown = [text.get_text() for text in figure.axes[0].texts]
    assert all(row["item"] in shown for row in rows)
    assert {"which data", "1.24", "✓ reproduced", "≠ differs", "○ open"} <= set(shown)
    image = Image.open(io.BytesIO(scoreboard_page.png(figure, 50)))
    assert (
        image.width > 500 and len(image.convert("RGB").getcolors(image.width * image.height)) > 20
    )
    assert not plt.fignum_exists(figure.number)


def test_ladder_as_lines():
    head, *lines = scoreboard_page.ladder_table(LADDER)
    assert len(set(head)) == len(head) and all(len(line) == len(head) for line in lines)
    by_model = {line[0]: line for line in lines}
    none = "–"
    assert by_model["density and stage only"][1:] == ["232.0 ± 2.8", none, "1,200", *[none] * 4]
    expected = ["61.0 ± 1.4", "66.0 ± 2.8", "1,200", "1", "1", "59.2", "1.00"]
    assert by_model["diagrams, Ridge"][1:] == expected
    assert by_model["SchNet"][1:] == ["30.0", none, "1,200", "0.50", none, "30.5", "0.52"]


def test_splits_and_test_frames_are_counted():
    both = [rung("a", kind, [1.0, 2.0]) for kind in ("random", "by trajectory")]
    both[1]["n_test"] = 1056
    told = "mean and standard deviation over 2 splits of each kind, "
    frames = "9 (random) and 1,056 (by trajectory) test frames"
    assert scoreboard_page.tested(both) == told + frames
    for one in both:
        one["rmse"] = one["rmse"][:1]
    assert scoreboard_page.tested(both) == f"one split of each kind, {frames}"
    both[0]["rmse"] = [1.0, 2.0, 3.0]
    told = scoreboard_page.tested(both)
    assert "over 3 and 1 splits" in told and told.endswith("one split has no standard deviation")


def test_ladder_is_drawn_with_the_papers_values_apart():
    figure, axes = plt.subplots(1, 2)
    scoreboard_page.draw_ladder(axes, LADDER, "NEP89")
    labels = axes[0].get_legend_handles_labels()[1]
    assert sorted(labels) == ["NEP89, by trajectory", "NEP89, random", "paper: LDA data, random"]
    (paper,) = [line for line in axes[0].lines if line.get_label().startswith("paper")]
    assert list(paper.get_xdata()) == [59.2, 30.5]
    without = [row | {"paper": None, "paper_ratio": None} for row in LADDER]  # not carbon
    other, two = plt.subplots(1, 2)
    scoreboard_page.draw_ladder(two, without, "user")
    assert not any("paper" in text for text in two[0].get_legend_handles_labels()[1])
    plt.close(other)
    names = [tick.get_text() for tick in axes[0].get_yticklabels()]
    assert names == ["density and stage only", "diagrams, Ridge", "SchNet"]
    plt.close(figure)
