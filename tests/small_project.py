"""Make notebooks for the tests that build a small project."""

import nbformat


def make_notebook(path, *cells, after=(), reads=()):
    """Write a notebook of code cells; the first one holds the parameters."""
    first, *rest = cells
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    metadata = {"kernelspec": kernel, "phutils": {"after": list(after), "reads": list(reads)}}
    notebook = nbformat.v4.new_notebook(metadata=metadata)
    title = nbformat.v4.new_markdown_cell(f"# {path.stem}")
    parameters = nbformat.v4.new_code_cell(first, metadata={"tags": ["parameters"]})
    notebook.cells = [title, parameters, *(nbformat.v4.new_code_cell(cell) for cell in rest)]
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)
