// Small things that the theme leaves open.

// From disk a browser may not read other files, so the search shows titles without summaries.
if (window.location.protocol === "file:") {
  DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
}

// A formula or a figure that is too wide scrolls by itself: let the keyboard reach it.
function reachWideOnes() {
  for (const box of document.querySelectorAll("mjx-container[display], .wide-figure")) {
    if (box.scrollWidth > box.clientWidth) {
      box.tabIndex = 0;
    } else {
      box.removeAttribute("tabindex");
    }
  }
}

// A computed number stands out in bold; a computed sentence should read like the text around it.
function calmSentences() {
  for (const value of document.querySelectorAll(".pasted-text")) {
    value.classList.toggle("sentence", value.textContent.length > 60);
  }
}
document.addEventListener("DOMContentLoaded", calmSentences);

window.addEventListener("load", () => {
  reachWideOnes();
  window.MathJax?.startup?.promise?.then(reachWideOnes);
});
window.addEventListener("resize", reachWideOnes);
