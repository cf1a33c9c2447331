import importlib.util
import io
import json
import re
from types import SimpleNamespace

import pytest
from PIL import Image

from phutils import front_page, scoreboard
from phutils.artifacts import ROOT

RING = [[0.0, 0, 0], [1.4, 0, 0], [2.1, 1.2, 0], [1.4, 2.4, 0], [0, 2.4, 0.2], [-0.7, 1.2, 0]]


def rung(model, split, value):
    found = {"model": model, "split": split, "rmse": [value, value + 2], "ratio": [1.0, 1.1]}
    return found | {"n_train": 900, "n_test": 9, "paper": 59.2, "paper_ratio": 1.0}


@pytest.fixture
def board(tmp_path):
    rows = scoreboard.scoreboard(tmp_path / "none", "quick")
    rows[[row["item"] for row in rows].index("Fig. 3a")] |= {
        "verdict": "reproduced",
        "ours": "61.5 ± 2.0 meV/atom",
        "why": "by trajectory 64.0",
    }
    one = {"kind": "liquid", "density": 2.2, "pairs": [[0.6, 1.9, 6], [2.0, 2.1, 3], [1.0, 3.0, 9]]}
    one |= {"rings": {"6 atoms": RING, "largest birth": RING[:3]}}
    return {
        "dataset": "embedded",
        "labels": "NEP89",
        "profile": "quick",
        "n_frames": 1200,
        "date": "2026-01-02",
        "chapters": ["03_ridge"],
        "rows": rows,
        "ladder": [rung("diagrams, Ridge", k, 60.0) for k in ("random", "by trajectory")],
        "missing": {},
        "rings": {"liquid": one, "glass": one | {"kind": "amorphous"}},
    }


def test_findings_are_five_lines_of_verdicts_with_links(board):
    lines = front_page.findings(board).splitlines()
    assert len(lines) == 5 and all(line.startswith("- **") for line in lines)
    assert "([evidence](notebooks/03_ridge.ipynb))" in lines[0]
    assert "✓ *Reproduced*" in lines[0] and "61.5 ± 2.0" in lines[0] and "64.0" in lines[0]
    assert all("○ *Open*" in line and "not run" in line for line in lines[1:])
    assert all("](" not in line for line in lines[1:])  # chapters that the book does not hold
    tied = {"verdict": "open", "ours": "SOAP 0.27, SchNet 0.95", "why": "cannot be told apart"}
    rows = [row | tied if "order" in row["item"] else row for row in board["rows"]]
    line = front_page.findings(board | {"rows": rows}).splitlines()[1]
    assert line.endswith("; here SOAP 0.27, SchNet 0.95 (cannot be told apart).")


def test_caption_names_data_date_and_says_whose_numbers_these_are(board):
    told = front_page.provenance(board)
    for part in ("1,200", "embedded", "NEP89", "quick", "2026-01-02"):
        assert part in told
    assert "none of them is a number of the paper" in told
    assert "none of them" not in front_page.provenance(board | {"labels": "VASP-LDA"})


def test_figure_is_drawn_with_and_without_its_parts(board):
    full = front_page.front_figure(board)
    lonely = front_page.front_figure(board | {"rings": {}})
    empty = front_page.front_figure(board | {"rings": {}, "ladder": []})
    # two diagrams with one ring each ("largest birth" is not drawn), and two axes of the ladder
    assert [len(figure.axes) for figure in (full, lonely, empty)] == [6, 2, 0]
    assert full.axes[0].get_xlim() == full.axes[2].get_xlim() == (0, 3)  # one window for both
    for figure in (full, lonely, empty):
        front_page.png(figure, 40)


def test_parts_of_the_front_page(board):
    parts = front_page.parts(board)
    assert parts["front_figure"].startswith("```{figure} data:image/png;base64,")
    assert f":alt: {front_page.ALT}\n" in parts["front_figure"]
    assert "| diagrams, Ridge |" in parts["ladder"]
    told = "mean and standard deviation over 2 splits of each kind, 9 (random) and 9 (by trajectory"
    assert told in parts["ladder"] and "the paper's are for its own data" in parts["ladder"]
    one = [row | {"rmse": row["rmse"][:1], "paper": None} for row in board["ladder"]]
    told = front_page.ladder_text(board | {"ladder": one})
    assert "one split of each kind" in told and "deviation" not in told and "paper's" not in told
    nothing = front_page.parts(board | {"rings": {}, "ladder": []})
    assert nothing["front_figure"] == "" and "No model" in nothing["ladder"]


def test_renewing_replaces_the_block_and_nothing_else():
    begin, end = front_page.BEGIN, front_page.END
    assert front_page.renew(f"a\n{begin}\nold\n{end}\nb", "new") == "a\nnew\nb"
    for wrong in ("none", begin, f"{end} {begin}", f"{begin}{begin}{end}"):
        with pytest.raises(ValueError, match="once each, in this order"):
            front_page.renew(wrong, "new")


def test_command_renews_readme_and_picture(board, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PHUTILS_BUILD", str(tmp_path / "_build"))
    readme = tmp_path / "README.md"
    readme.write_text(f"Top\n\n{front_page.BEGIN}\n{front_page.END}\n\nrest\n", encoding="utf-8")
    assert front_page.main(["--profile", "quick"], tmp_path) == 1
    assert "scoreboard.json is missing for profile 'quick'" in capsys.readouterr().err
    (tmp_path / "_build" / "artifacts" / "embedded" / "quick").mkdir(parents=True)
    path = tmp_path / "_build" / "artifacts" / "embedded" / "quick" / "scoreboard.json"
    path.write_text(json.dumps(board))
    for _ in range(2):  # a second time changes nothing more
        assert front_page.main(["--profile", "quick"], tmp_path) == 0
        text = readme.read_text(encoding="utf-8")
        assert text.startswith("Top\n") and text.endswith("\n\nrest\n")
        assert text.count(front_page.readme_block(board)) == 1
    picture = tmp_path / front_page.PICTURE
    assert f"]({front_page.PICTURE})" in text and picture.stat().st_size < 150_000
    assert Image.open(picture).width > 600


def test_readme_of_this_repository_is_well_formed():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    front_page.renew(text, "")
    block = text.split(front_page.BEGIN)[1].split(front_page.END)[0]
    assert f"]({front_page.PICTURE})" in block and "labels" in block and "run of 20" in block
    picture = ROOT / front_page.PICTURE
    assert picture.stat().st_size < 150_000
    Image.open(io.BytesIO(picture.read_bytes())).verify()
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", text)
    assert links and [link for link in links if not (ROOT / link).exists()] == []
    assert len(re.findall(r"^- \*\*", block, flags=re.M)) == 5


def test_results_are_left_for_the_readme(board, tmp_path, monkeypatch):
    monkeypatch.delenv("PHUTILS_PUBLISH", raising=False)
    front_page.publish(tmp_path, "quick", "scoreboard", board, csv=b"a")
    assert json.loads((tmp_path / "quick" / "scoreboard.json").read_text())["n_frames"] == 1200
    assert (tmp_path / "quick" / "scoreboard.csv").read_bytes() == b"a"
    monkeypatch.setenv("PHUTILS_PUBLISH", "no")
    front_page.publish(tmp_path, "other", "scoreboard", board, csv=b"a")
    assert not (tmp_path / "other").exists()


# --- the Sphinx extension ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def extension():
    spec = importlib.util.spec_from_file_location("front", ROOT / "_ext" / "front_page.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def executed(**texts):
    outputs = [
        {
            "metadata": {"scrapbook": {"name": name}},
            "data": {"application/papermill.record/text/markdown": [text]},
        }
        for name, text in texts.items()
    ]
    return json.dumps({"cells": [{"cell_type": "markdown"}, {"outputs": outputs}]})


def test_front_page_takes_its_text_from_the_executed_chapter(extension, tmp_path):
    noted = []
    app = SimpleNamespace(
        config=SimpleNamespace(root_doc="index"),
        srcdir=tmp_path,
        env=SimpleNamespace(note_dependency=noted.append),
    )
    page = "# T\n\n% scoreboard: ladder\n\n% scoreboard: other\n"
    source = [page]
    extension.fill(app, "index", source)
    assert source == [page] and noted == []  # not executed: comments stay
    path = tmp_path / extension.CHAPTER
    path.parent.mkdir()
    path.write_text(executed(ladder="| a \\1 |"), encoding="utf-8")
    extension.fill(app, "notebooks/01_dataset", source)
    assert source == [page]
    extension.fill(app, "index", source)
    assert source == ["# T\n\n| a \\1 |\n\n% scoreboard: other\n"]
    assert noted == [extension.CHAPTER]


def test_front_page_asks_for_what_the_chapter_makes(board):
    asked = re.findall(r"^% scoreboard: (\w+)$", (ROOT / "index.md").read_text(), flags=re.M)
    assert sorted(asked) == sorted(front_page.parts(board))
