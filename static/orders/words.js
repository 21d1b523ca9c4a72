// The page's sentences in the cashier's language; # and @ stand for what is told.
const words = document.getElementById("words").dataset;

export function word(name, first = "", second = "") {
  // In one pass, and not as a pattern: names of goods may hold any of these marks.
  return words[name].replace(/[#@]/g, (mark) => (mark === "#" ? first : second));
}

export function pieces(count) {
  return count === 1 ? word("item") : word("items", String(count));
}
