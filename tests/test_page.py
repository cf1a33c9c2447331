import nbformat
from nbclient import NotebookClient

from phutils import page


def test_values_are_found_by_name_and_not_shown():
    notebook = nbformat.v4.new_notebook()
    code = "from phutils.page import tell\ntell(one='1.0 ± 0.1', two=2)"
    notebook.cells = [nbformat.v4.new_code_cell(code)]
    NotebookClient(notebook, kernel_name="python3", timeout=60).execute()
    found = {}
    for output in notebook.cells[0].outputs:
        found[output["metadata"]["scrapbook"]["name"]] = output["data"]
        assert not {"text/plain", "text/html"} & set(output["data"])  # on the page by name alone
    assert [list(data.values())[0] for data in found.values()] == ["'1.0 ± 0.1'", "2"]
    assert list(found) == ["one", "two"] and page.tell() is None


def test_span_of_numbers():
    assert page.span([1.471, 1.52, float("nan")]) == "1.47 to 1.52"
    assert page.span([7.2, 6.8], 0) == "7"
    assert page.span([]) == page.span([float("nan")]) == "unknown"
