import pytest

from phutils import profiles
from phutils.artifacts import ROOT
from phutils.book import chapters


def test_profiles_of_the_book_fit_its_notebooks():
    table = profiles.load_profiles()
    assert set(table) == {"quick", "default", "paper"}
    for profile in table.values():
        assert profile["cell_timeout"] > 0
        for name, values in profile.items():
            if name != "cell_timeout":
                profiles.check_parameters(profiles.notebook_path(name), values)


@pytest.mark.parametrize("name", chapters())
def test_every_chapter_declares_dataset_and_profile(name):
    declared = profiles.declared_parameters(profiles.notebook_path(name))
    assert declared["dataset"] == "embedded" and declared["profile"] == "interactive"


def test_unknown_names_are_refused_with_what_there_is(project):
    with pytest.raises(profiles.BuildError, match="unknown profile 'fast': choose one of quick"):
        profiles.profile_table("fast", project)
    with pytest.raises(profiles.BuildError, match="unknown notebook '09_x': there are 01_good"):
        profiles.notebook_path("09_x", project)
    path = profiles.notebook_path("01_good.ipynb", project)
    with pytest.raises(
        profiles.BuildError, match="01_good has no parameter 'alpah'; .*: dataset, "
    ):
        profiles.check_parameters(path, {"alpah": 1})


@pytest.mark.parametrize(
    "name, value",
    [("n", "two"), ("n", 2.5), ("n", True), ("x", "0.1"), ("x", True), ("dataset", 1)],
)
def test_wrong_types_are_refused(project, name, value):
    path = profiles.notebook_path("01_good", project)
    with pytest.raises(profiles.BuildError, match=f"01_good: parameter {name} = "):
        profiles.check_parameters(path, {name: value})


def test_right_types_pass(project):
    path = profiles.notebook_path("01_good", project)
    profiles.check_parameters(path, {"n": 3, "x": 1, "dataset": "zenodo"})
    assert profiles.declared_parameters(path)["x"] == 0.5


@pytest.mark.parametrize(
    "text, value",
    [
        ("20", 20), ("1e-3", 1e-3), ("[1, 2]", [1, 2]), ("true", True), ("False", False),
        ("none", None), ("global", "global"), ("(0.0, 4.0)", (0.0, 4.0)), ("a/b.xyz", "a/b.xyz"),
    ],
)  # fmt: skip
def test_values_from_the_command_line(text, value):
    assert profiles.parse_value(text) == value
    assert type(profiles.parse_value(text)) is type(value)


def test_notebooks_hold_no_outputs_and_name_the_kernel():
    paths = sorted((ROOT / "notebooks").glob("*.ipynb"))
    assert paths
    for path in paths:
        notebook = profiles.read_notebook(path)
        assert notebook["metadata"]["kernelspec"]["name"] == "python3", path.name
        for cell in notebook["cells"]:
            assert not cell.get("outputs") and not cell.get("execution_count"), path.name
