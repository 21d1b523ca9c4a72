/* Puts what is new on top, every two seconds. */
const POLL_MS = 2000;

const entries = document.getElementById("entries");
const empty = document.getElementById("empty");

function newest() {
  const first = entries.querySelector(".entry");
  return first ? first.dataset.number : "0";
}

async function poll() {
  try {
    const response = await fetch(`/log/entries?after=${newest()}`);
    if (response.ok) entries.insertAdjacentHTML("afterbegin", await response.text());
  } catch {
    /* The simulator is away; the next round asks again. */
  }
  empty.hidden = entries.querySelector(".entry") !== null;
  setTimeout(poll, POLL_MS);
}

poll();
