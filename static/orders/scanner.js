// A barcode scanner types like a person, only faster, and ends with Enter. A fast
// burst anywhere on the page is a scan; what it typed into a field is taken back.
const FASTEST_PERSON_MS = 50;
const SHORTEST_CODE = 4;
// Sums and quantities are short: in a field, only a longer burst is a code.
const SHORTEST_CODE_IN_FIELD = 6;

let burst = "";
let last = 0;
let field = null;
let before = "";

export function isBurst() {
  return burst.length > 1;
}

function isField(element) {
  return element instanceof HTMLInputElement && element.type !== "checkbox";
}

function type(event) {
  const now = performance.now();
  if (now - last > FASTEST_PERSON_MS) {
    burst = "";
    field = isField(event.target) ? event.target : null;
    before = field?.value ?? "";
  }
  burst += event.key;
  last = now;
}

function restore() {
  if (!field) return;
  field.value = before;
  field.dispatchEvent(new Event("input", { bubbles: true }));
}

export function listen({ onScan, isTyped }) {
  document.addEventListener(
    "keydown",
    (event) => {
      if (event.key.length === 1 && !event.ctrlKey && !event.metaKey && !event.altKey) {
        if (event.repeat) burst = "";
        else type(event);
        return;
      }
      if (event.key === "Shift") return;
      const code = burst;
      burst = "";
      if (event.key !== "Enter") return;
      const shortest = field ? SHORTEST_CODE_IN_FIELD : SHORTEST_CODE;
      const isFast = performance.now() - last <= FASTEST_PERSON_MS * 2;
      if (!isFast || code.length < shortest || isTyped(field)) return;
      event.preventDefault();
      event.stopPropagation();
      restore();
      onScan(code);
    },
    true,
  );
}
