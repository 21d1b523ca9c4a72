// A Kenyan mobile number while it is typed: grouped, and judged without waiting.
// The server judges again; numbers are portable, so a prefix only hints.
const SAFARICOM = /^(7(?:[0129]\d|4[0-35689]|5[7-9]|6[89])|11\d)/;

function split(digits) {
  if (digits.startsWith("254")) return ["254", digits.slice(3)];
  if (digits.startsWith("0")) return ["0", digits.slice(1)];
  return ["", digits];
}

export function national(text) {
  return split(text.replace(/\D/g, ""))[1];
}

export function group(text) {
  const [prefix, rest] = split(text.replace(/\D/g, "").slice(0, 12));
  const parts = [rest.slice(0, 3), rest.slice(3, 6), rest.slice(6)].filter(Boolean);
  if (prefix === "0") parts[0] = prefix + (parts[0] ?? "");
  if (prefix === "254") parts.unshift(prefix);
  return parts.join(" ");
}

// Returns [mood, name of a word, what it tells].
export function judge(text) {
  const digits = national(text);
  if (!digits) return ["", "", ""];
  if (!/^[17]/.test(digits) || digits.length > 9) return ["bad", "phoneBad", ""];
  const missing = 9 - digits.length;
  if (missing === 1) return ["", "phoneOne", ""];
  if (missing) return ["", "phoneMore", String(missing)];
  return SAFARICOM.test(digits) ? ["good", "phoneGood", ""] : ["wait", "phoneOther", ""];
}

// Writes the groups into the field and leaves the caret behind the same digit.
export function regroup(input) {
  const digitsBefore = input.value
    .slice(0, input.selectionStart)
    .replace(/\D/g, "").length;
  const text = group(input.value);
  if (text === input.value) return;
  input.value = text;
  let caret = 0;
  for (let seen = 0; caret < text.length && seen < digitsBefore; caret += 1) {
    if (/\d/.test(text[caret])) seen += 1;
  }
  input.setSelectionRange(caret, caret);
}
