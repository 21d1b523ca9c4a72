// Prints a receipt that was opened for printing, and closes its tab afterwards.
const print = document.getElementById("print");
const back = document.getElementById("back");
const wasOpenedToPrint = "print" in document.body.dataset;

print.addEventListener("click", () => window.print());
back.addEventListener("click", (event) => {
  if (!wasOpenedToPrint) return;
  // A tab that a script did not open may refuse to close: then the link works.
  window.close();
  if (window.closed) event.preventDefault();
});
if (wasOpenedToPrint) window.addEventListener("load", () => window.print());
