// On a phone each row of a table becomes a card: its cells take their column's name.
for (const table of document.querySelectorAll("#result_list, .tabular table")) {
  const names = [...table.querySelectorAll("thead th")].map((th) => {
    const text = th.querySelector(".text");
    return (text || th).textContent.trim();
  });
  for (const row of table.querySelectorAll("tbody tr")) {
    [...row.children].forEach((cell, index) => {
      if (names[index]) cell.dataset.label = names[index];
    });
  }
  table.classList.add("labelled");
}

// The choices of a filter are put away by Escape, and by a press anywhere else.
const putAway = (spared) => {
  for (const choice of document.querySelectorAll(".choice[open]")) {
    if (choice !== spared) choice.open = false;
  }
};
document.addEventListener("click", (event) => putAway(event.target.closest(".choice")));
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  const open = document.querySelector(".choice[open]");
  putAway(null);
  open?.querySelector("summary").focus();
});
