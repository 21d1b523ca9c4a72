// Money to sort, while it is open: the list is read anew when something happened. What
// somebody is typing stays; then a note says that the list has changed.
import { Live } from "./live.js";
import * as server from "./server.js";
import { word } from "./words.js";

const $ = (id) => document.getElementById(id);
const live = new Live(document.body.dataset.shop);
let isLooking = false;

const isBusy = () => Boolean(document.querySelector("#pieces details[open]"));

async function look() {
  if (isLooking || !$("changed").hidden) return;
  isLooking = true;
  try {
    const { seen } = $("pieces").dataset;
    const text = await server.fragment(`${document.body.dataset.list}?seen=${seen}`);
    if (text === null) return;
    if (isBusy()) $("changed").hidden = false;
    else take(text);
  } catch {
    // The dot says whether there is a link; the next look tries again.
  } finally {
    isLooking = false;
  }
}

function take(text) {
  const fresh = document.createElement("template");
  fresh.innerHTML = text;
  const next = fresh.content.firstElementChild;
  if (next?.id === "pieces") $("pieces").replaceWith(next);
}

// An open sale of the very amount is chosen with one press; then the reason is next.
document.addEventListener("click", (event) => {
  const sale = event.target.closest("[data-sale]");
  if (!sale) return;
  const form = sale.closest("form");
  form.elements.sale.value = sale.dataset.sale;
  form.elements.reason.focus();
});

function showLink(state, name) {
  $("live").dataset.state = state;
  $("live").querySelector(".live-word").textContent = word(name);
}

live.addEventListener("up", () => showLink("on", "connected"));
live.addEventListener("down", () => showLink("off", "disconnected"));
live.addEventListener("look", look);
$("told")?.scrollIntoView({ block: "center" });
live.start();
