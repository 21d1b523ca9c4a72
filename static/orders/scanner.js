// A barcode scanner types like a person, only faster, and ends with Enter. A fast
// burst anywhere on the page is a scan; what it typed into a field is taken back.
// Measured by the keys' own times: a busy page hears them late.
const LONGEST_GAP_MS = 100;
const FASTEST_PERSON_MS = 50; // between two keys, on average
const SHORTEST_CODE = 4;
// Sums and quantities are short: in a field, only a longer burst is a code.
const SHORTEST_CODE_IN_FIELD = 6;

let burst = "";
let first = 0;
let last = 0;
let field = null;
let before = "";

// Whether a code is coming in; pressing + twice is none.
export function isBurst() {
  return burst.length > 1 && /[^+-]/.test(burst);
}

function isField(element) {
  return element instanceof HTMLInputElement && element.type !== "checkbox";
}

function type(event) {
  const now = event.timeStamp;
  if (!burst || now - last > LONGEST_GAP_MS) {
    burst = "";
    first = now;
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
      const isFast =
        event.timeStamp - last <= LONGEST_GAP_MS &&
        last - first <= FASTEST_PERSON_MS * (code.length - 1);
      if (!isFast || code.length < shortest || isTyped(field)) return;
      event.preventDefault();
      event.stopPropagation();
      restore();
      onScan(code);
    },
    true,
  );
}
