// Two small things that the theme leaves open.

// From disk a browser may not read other files, so the search shows titles without summaries.
if (window.location.protocol === "file:") {
  DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
}

// A formula that is too wide scrolls by itself: let the keyboard reach it.
function reachWideFormulas() {
  for (const formula of document.querySelectorAll("mjx-container[display]")) {
    if (formula.scrollWidth > formula.clientWidth) {
      formula.tabIndex = 0;
    } else {
      formula.removeAttribute("tabindex");
    }
  }
}
window.addEventListener("load", () => {
  window.MathJax?.startup?.promise?.then(reachWideFormulas);
});
window.addEventListener("resize", reachWideFormulas);
