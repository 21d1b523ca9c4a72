// The page's sentences in the cashier's language; # and @ stand for what is told.
const words = document.getElementById("words").dataset;

export function word(name, first = "", second = "") {
  return words[name].replace("#", first).replace("@", second);
}

export function pieces(count) {
  return count === 1 ? word("item") : word("items", String(count));
}
