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

// There the filters begin folded, but for those that are in use.
if (matchMedia("(max-width: 767px)").matches) {
  for (const filter of document.querySelectorAll("#changelist-filter details")) {
    if (filter.querySelector("li:first-child.selected")) filter.open = false;
  }
}
