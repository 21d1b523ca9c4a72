// The home page keeps its parts up to date for as long as somebody looks at it.
const live = document.getElementById("home-live");
const parts = [...document.querySelectorAll("[data-every]")];
const shown = new WeakMap(); // what was put into a part last
const opened = new WeakMap(); // the tables in it that somebody opened

const ask = (part) => {
  if (!document.hidden) htmx.trigger(part, "refresh");
};
for (const part of parts) setInterval(ask, Number(part.dataset.every) * 1000, part);
document.addEventListener("visibilitychange", () => parts.forEach(ask));

const tell = (state, asOf) => {
  live.dataset.state = state;
  live.querySelector(".fresh").hidden = state !== "live";
  live.querySelector(".lost").hidden = state === "live";
  if (asOf) {
    for (const place of live.querySelectorAll(".as-of")) place.textContent = asOf;
  }
};

document.addEventListener("htmx:beforeSwap", (event) => {
  const { xhr, target, serverResponse, isError } = event.detail;
  if (isError) return;
  const asOf = xhr.getResponseHeader("X-As-Of");
  if (asOf === null) {
    location.reload(); // the session is over: this is the sign-in page
    event.detail.shouldSwap = false;
    return;
  }
  // What did not change stays, with what somebody marked in it.
  if (shown.get(target) === serverResponse) event.detail.shouldSwap = false;
  shown.set(target, serverResponse);
  opened.set(target, [...target.querySelectorAll("details[open]")].map((one) => one.id));
});
document.addEventListener("htmx:afterSwap", (event) => {
  for (const id of opened.get(event.detail.target) ?? []) {
    const table = document.getElementById(id);
    if (table) table.open = true;
  }
});
document.addEventListener("htmx:afterRequest", (event) => {
  const { successful, xhr } = event.detail;
  tell(successful ? "live" : "lost", successful ? xhr.getResponseHeader("X-As-Of") : "");
});
