// What a dialog that the server fills says when that could not be reached, or something
// broke there. A dialog that has nothing else gets a way on and a way out.
import { word } from "./words.js";

const KINDS = {
  "htmx:sendError": "noLink",
  "htmx:timeout": "noLink",
  "htmx:responseError": "broken",
};

// Have `tell` called with the kind of trouble when a request of this body fails.
export function listen(body, tell) {
  for (const [name, kind] of Object.entries(KINDS)) {
    body.addEventListener(name, () => tell(kind));
  }
  body.addEventListener("htmx:beforeRequest", () => drop(body));
}

export function fill(body, url) {
  const swap = { source: body, target: body, swap: "innerHTML" };
  return window.htmx.ajax("GET", url, swap).catch(() => {}); // told by the events
}

export function noteOf(mood, title, remedy = "") {
  const note = document.createElement("div");
  note.className = `note ${mood}`;
  note.dataset.trouble = "";
  note.setAttribute("role", "alert");
  note.append(Object.assign(document.createElement("b"), { textContent: title }));
  if (remedy) note.append(Object.assign(document.createElement("span"), { textContent: remedy }));
  return note;
}

export function kindIn(body) {
  return body.querySelector("[data-trouble]")?.dataset.trouble ?? "";
}

export function drop(body) {
  body.querySelector(":scope > :not(.alone) [data-trouble]")?.remove();
}

// `ways` are what the two buttons do: `again` and `leave`.
export function tell(body, kind, ways) {
  const note = noteOf("bad", word(`${kind}Title`), word(kind));
  note.dataset.trouble = kind;
  show(body, note, ways);
}

export function show(body, note, ways) {
  drop(body);
  const root = body.firstElementChild;
  if (!root || root.matches(".alone")) {
    body.replaceChildren(alone(note, ways));
    note.firstElementChild.id = body.closest("dialog").getAttribute("aria-labelledby");
    body.querySelector(".btn").focus();
    return;
  }
  const form = root.querySelector(".btn")?.closest("form");
  if (form) form.before(note);
  else root.append(note);
}

function alone(note, { again, leave }) {
  const section = document.createElement("section");
  section.className = "sheet alone";
  const on = button("btn main", word("again"), async () => {
    on.setAttribute("aria-disabled", "true"); // grey while it is under way
    await again();
    on.removeAttribute("aria-disabled");
  });
  section.append(note, on, button("btn", word("toTill"), leave));
  return section;
}

function button(className, label, act) {
  const one = document.createElement("button");
  Object.assign(one, { className, type: "button", textContent: label });
  one.addEventListener("click", act);
  return one;
}
