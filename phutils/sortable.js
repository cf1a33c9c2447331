// Sorts a table by the column whose heading is pressed: once upwards, again downwards.
// "{table_id}" is replaced by the id of the table. Cells may carry a data-key to sort by.
(() => {
  const table = document.getElementById("{table_id}");
  const key = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.key ?? cell.textContent.trim();
  };
  const order = new Intl.Collator("en", { numeric: true });
  for (const button of table.querySelectorAll("th button")) {
    button.addEventListener("click", () => {
      const heading = button.closest("th");
      const down = heading.getAttribute("aria-sort") === "ascending";
      for (const other of heading.parentElement.cells) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = [...table.tBodies[0].rows];
      rows.sort((a, b) => {
        const [one, two] = [key(a, heading.cellIndex), key(b, heading.cellIndex)];
        if (!one || !two) return (one ? 0 : 1) - (two ? 0 : 1); // unknown: last either way
        return (down ? -1 : 1) * order.compare(one, two);
      });
      table.tBodies[0].append(...rows);
    });
  }
})();
