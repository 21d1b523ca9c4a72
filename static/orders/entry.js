// The two forms of the payment sheet, while somebody types into them.
import { kes } from "./money.js";
import { judge, regroup } from "./phone.js";
import { word } from "./words.js";

export function bindPhone(form) {
  const input = form.querySelector("#phone");
  const hint = form.querySelector("#phone-hint");
  const look = () => {
    regroup(input);
    const [mood, name, told] = judge(input.value);
    hint.dataset.mood = mood;
    hint.textContent = name ? word(name, told) : "";
    if (mood !== "bad") input.removeAttribute("aria-invalid");
  };
  input.addEventListener("input", look);
  look();
}

function shillings(text) {
  const digits = text.replace(/[\s,]/g, "");
  return /^\d{1,9}$/.test(digits) ? Number(digits) : null;
}

export function bindCash(form) {
  const input = form.querySelector("#given");
  const change = form.querySelector("#change");
  const look = () => {
    const balance = Number(form.dataset.balance);
    const given = shillings(input.value);
    const isShort = given !== null && given < balance;
    change.dataset.mood = given === null ? "" : isShort ? "wait" : "good";
    change.firstElementChild.textContent = word(isShort ? "rest" : "change");
    change.lastElementChild.textContent =
      given === null
        ? input.value.trim()
          ? word("whole")
          : "–"
        : kes(Math.abs(given - balance) * 100);
    for (const note of form.querySelectorAll("[data-note]")) {
      note.setAttribute("aria-pressed", String(Number(note.dataset.note) === given));
    }
  };
  // The quick sums are changed with the balance, so the form listens for them.
  form.addEventListener("click", (event) => {
    const note = event.target.closest("[data-note]");
    if (!note) return;
    input.value = note.dataset.note;
    look();
    form.querySelector("button[type=submit]").focus();
  });
  input.addEventListener("input", look);
  look();
}
