// The till page: joins cart, ticket, goods, scanner, payment sheet and live link.
import { Cart } from "./cart.js";
import { Live } from "./live.js";
import { judge } from "./phone.js";
import * as scanner from "./scanner.js";
import * as server from "./server.js";
import { Sheet } from "./sheet.js";
import { drawCounts, drawHeld, drawTicket } from "./ticket.js";
import * as tone from "./tone.js";
import * as trouble from "./trouble.js";
import { word } from "./words.js";

const $ = (id) => document.getElementById(id);
const page = document.body.dataset;
const cart = new Cart(`smartduka.cart.${page.shop}.${page.user}`, window.localStorage);
const sheet = new Sheet($("sheet"));
const live = new Live(page.shop);
const most = Number(page.most);

let viewing = null; // a sale on the ticket that is not this cart's
let whys = new Map(); // what is wrong with a line, by product
let isSaving = false;

// --- the ticket ------------------------------------------------------------------

function draw() {
  drawTicket({ cart, viewing, whys });
  drawCounts(cart);
}

function touch() {
  whys = new Map();
  $("trouble").hidden = true;
}

// What is changed while the server makes a sale of the cart would be lost with its
// answer, which says what is sold.
function isWaiting() {
  if (!isSaving) return false;
  tell(word("saving"));
  tone.bad();
  return true;
}

// Why the goods may not be changed now, told; a sheet asks for what they came to.
function isLocked() {
  if (isWaiting()) return true;
  if (!sheet.orderId && !viewing && !cart.isFrozen) return false;
  tell(word(sheet.orderId ? "waitUntilClosed" : "locked"));
  if (sheet.orderId) tone.bad();
  return true;
}

function add(product) {
  if (isLocked()) return;
  touch();
  hush();
  if (product.stock <= 0) tell(word("noneLeft", product.name));
  else if (cart.quantityOf(product.id) >= product.stock) {
    tell(word("onlyLeft", product.name, String(product.stock)));
  }
  if (cart.quantityOf(product.id) < most) cart.add(product);
}

function setQuantity(id, text) {
  if (isLocked()) {
    draw();
    return;
  }
  const quantity = /^\d{1,6}$/.test(text.trim()) ? Number(text) : 0;
  touch();
  if (quantity < 1 || quantity > most) whys.set(id, word("badQuantity", String(most)));
  else {
    cart.setQuantity(id, quantity);
    return;
  }
  draw();
}

// Keys and scans leave the focus where it is: a quantity that is still being typed is
// taken all the same. Whether one could be, if there is any.
function takeTyped() {
  const field = document.activeElement;
  if (!(field instanceof HTMLInputElement && $("lines").contains(field))) return true;
  const id = lineOf(field);
  field.blur(); // tells of the change, unless a scan was taken out of the field again
  if (field.value === String(cart.quantityOf(id))) return true;
  setQuantity(id, field.value);
  return !whys.has(id);
}

function step(id, change) {
  const quantity = cart.quantityOf(id) + change;
  if (quantity < 1 || quantity > most || isLocked()) return;
  touch();
  cart.setQuantity(id, quantity);
}

function moveMark(change) {
  const at = cart.lines.findIndex((line) => line.id === cart.marked);
  const next = cart.lines[Math.min(Math.max(at + change, 0), cart.lines.length - 1)];
  if (next) cart.mark(next.id);
  document.querySelector(".line.on")?.scrollIntoView({ block: "nearest" });
}

// --- sentences -------------------------------------------------------------------

function tell(text) {
  $("tell").firstElementChild.textContent = text;
  $("tell").hidden = false;
  sheet.tell(text);
}

function hush() {
  $("tell").hidden = true;
}

function tellTrouble(title, remedy, actions = []) {
  const [bold, span, row] = $("trouble").children;
  bold.textContent = title;
  span.textContent = remedy;
  row.replaceChildren(
    ...actions.map(([label, act]) => {
      const button = document.createElement("button");
      Object.assign(button, { className: "btn", type: "button", textContent: label });
      button.addEventListener("click", act);
      return button;
    }),
  );
  row.hidden = actions.length === 0;
  $("trouble").hidden = false;
}

// --- goods -----------------------------------------------------------------------

// Answers come in any order. What is scanned keeps its order, and so does a key that is
// meant for the line of the last scan.
let turn = Promise.resolve();
let misses = 0; // how often goods were not found
function inTurn(act) {
  turn = turn.then(act, act);
}

// A sale is paid or held with all that was scanned before. If that brought no goods,
// whoever pressed the key reads so first and presses it again.
function afterScans(act) {
  const before = misses;
  $("pay").setAttribute("aria-busy", "true");
  inTurn(() => {
    $("pay").removeAttribute("aria-busy");
    if (misses === before) act(); // not awaited: the next scan is told that it saves
  });
}

function miss(text) {
  misses += 1;
  tell(text);
  tone.bad();
}

async function scan(code) {
  if (sheet.state === "paid") await next();
  else if (isLocked()) return;
  try {
    add(await server.json(`${page.scan}?code=${encodeURIComponent(code)}`));
  } catch (error) {
    miss(error.status === 404 ? error.message : word("unknownCode"));
  }
}

// Enter in the search: a barcode, or the only product that is left.
function searchEnter(input) {
  const text = input.value.trim();
  if (!text) return;
  const tiles = document.querySelectorAll("#goods [data-product]");
  const shown = document.querySelector("#goods").dataset.search;
  const only = tiles.length === 1 && shown === text ? productOf(tiles[0]) : null;
  inTurn(async () => {
    try {
      add(await server.json(`${page.scan}?code=${encodeURIComponent(text)}`));
    } catch (error) {
      if (error.status !== 404) miss(word("unknownCode"));
      else if (only) add(only);
      else if (/^\d{6,}$/.test(text)) miss(error.message);
      if (error.status !== 404 || !only) return;
    }
    input.value = "";
    refreshGoods();
  });
}

function productOf(tile) {
  const { product, name, price, stock } = tile.dataset;
  return { id: product, name, price: Number(price), stock: Number(stock) };
}

function refreshGoods() {
  window.htmx.trigger($("search-form"), "refresh");
}

function chooseCategory(chip) {
  for (const one of document.querySelectorAll(".chip")) {
    one.setAttribute("aria-pressed", String(one === chip));
  }
  $("category").value = chip.dataset.category;
  refreshGoods();
}

// --- paying ----------------------------------------------------------------------

async function save() {
  const items = cart.lines.map((line) => ({ productId: line.id, quantity: line.quantity }));
  cart.becomes(await server.json(page.sales, { orderId: cart.order?.id ?? null, items }));
}

// Bring the server's sale up to the ticket; false, and told why, if that was refused.
async function bringUp() {
  if (cart.isFrozen || cart.order?.signature === cart.signature) return true;
  isSaving = true;
  try {
    await save();
    return true;
  } catch (error) {
    explain(error);
    return false;
  } finally {
    isSaving = false;
  }
}

async function pay(method) {
  if (isSaving || sheet.orderId || viewing || cart.isEmpty) return;
  touch();
  if (await bringUp()) open(cart.order.id, `?method=${method}`);
}

// A payment was begun for the goods as the server has them: the ticket shows those.
async function freeze() {
  cart.freeze();
  const { id, signature } = cart.order;
  const shown = cart.signature;
  if (signature === shown) return;
  try {
    const sale = await server.json(`${page.sales}/${id}`);
    if (cart.order?.id !== id) return;
    cart.becomes(sale);
    if (cart.signature !== shown) tell(word("locked"));
  } catch {
    // Whatever arrives on the sheet next asks again.
  }
}

function explain(error) {
  const actions = [];
  if (error.code === "ORDER_NOT_OPEN") {
    actions.push([word("openSale"), () => open(cart.order.id)]);
    actions.push([word("asNew"), () => (touch(), cart.detach())]);
  }
  if (error.code === "NOT_FOUND" && cart.order) cart.detach();
  for (const { productId, stock } of error.details.products ?? []) {
    const line = cart.lines.find((one) => one.id === productId);
    if (line) whys.set(productId, word("onlyLeft", line.name, String(stock)));
  }
  for (const id of error.details.productIds ?? []) whys.set(id, word("gone"));
  tellTrouble(error.message, error.remedy, actions);
  draw();
}

function open(orderId, query = "") {
  const url = `${page.till}?sale=${orderId}`;
  if (window.location.search !== `?sale=${orderId}`) history.pushState(null, "", url);
  sheet.open(orderId, query);
}

async function view(orderId, query = "") {
  viewing = null;
  if (orderId === cart.order?.id) {
    if (isSaving) return; // it is opened as soon as that is done
    if (!(await bringUp())) {
      forgetUrl();
      return;
    }
  } else {
    try {
      viewing = await server.json(`${page.sales}/${orderId}`);
    } catch (error) {
      forgetUrl();
      tell(error.message);
      return;
    }
    draw();
  }
  open(orderId, query);
}

function forgetUrl() {
  if (window.location.search) history.pushState(null, "", page.till);
}

function leave() {
  sheet.close();
  viewing = viewing?.isFrozen ? viewing : null;
  forgetUrl();
  draw();
}

// The sale on the screen goes its own way; the next customer's begins.
async function next() {
  const wait = sheet.state === "paid" ? sheet.greenLeft : 0;
  if (wait) await new Promise((done) => setTimeout(done, wait));
  const left = sheet.orderId ?? viewing?.id ?? cart.order?.id;
  sheet.close();
  viewing = null;
  touch();
  hush();
  if (left && left === cart.order?.id) cart.clear();
  forgetUrl();
  draw();
  refreshGoods();
  refreshPill();
}

function holdOrRecall() {
  if (isLocked()) return;
  if (!cart.isEmpty) cart.hold();
  else if (cart.held.length === 1) cart.recall(0);
  else if (cart.held.length) {
    drawHeld(cart);
    $("held-sales").showModal();
  }
}

function refreshPill() {
  window.htmx.trigger($("pill"), "refresh");
}

// The dialogs at the side: what fills each.
const sides = { queue: page.panel, switch: page.switch };

function fill(id) {
  return trouble.fill($(`${id}-body`), sides[id]);
}

function showSide(id) {
  if (!$(id).open) {
    $(`${id}-body`).replaceChildren();
    $(id).showModal();
  }
  fill(id);
}

// Another person takes over: a sheet of its own, never over a payment.
function showSwitch() {
  $("menu").removeAttribute("open");
  if (document.querySelector("dialog[open]") || isWaiting()) return;
  showSide("switch");
}

// --- what can be pressed ---------------------------------------------------------

const lineOf = (element) => element.closest("li").dataset.id;
const acts = {
  pick: (button) => cart.mark(lineOf(button)),
  less: (button) => step(lineOf(button), -1),
  more: (button) => step(lineOf(button), 1),
  remove: (button) => !isLocked() && (touch(), cart.remove(lineOf(button))),
  clear: () => !isWaiting() && (touch(), cart.clear()),
  hold: () => afterScans(holdOrRecall),
  recall: (button) =>
    !isWaiting() && ($("held-sales").close(), cart.recall(Number(button.dataset.index))),
  cash: () => afterScans(() => pay("cash")),
  mpesa: () => afterScans(() => pay("mpesa")),
  show: () => open((viewing ?? cart.order).id),
  next,
  close: leave,
  queue: () => showSide("queue"),
  open: (button) => {
    $("queue").close();
    view(button.dataset.sale, `?payment=${button.dataset.payment}`);
  },
  change: showSwitch,
  help: () => ($("menu").removeAttribute("open"), $("help").showModal()),
  dismiss: (button) => button.closest("dialog").close(),
  hush,
  fold: (button) => {
    const isUnfolded = $("ticket").classList.toggle("unfolded");
    button.setAttribute("aria-expanded", String(isUnfolded));
  },
};

document.addEventListener("click", (event) => {
  const target = event.target instanceof Element ? event.target : null;
  if (!target?.closest("#menu")) $("menu").removeAttribute("open");
  const button = target?.closest("[data-act]");
  const tile = target?.closest("[data-product]");
  const chip = target?.closest("[data-category]");
  if (button) acts[button.dataset.act](button);
  else if (tile) add(productOf(tile));
  else if (chip) chooseCategory(chip);
});

$("lines").addEventListener("change", (event) => {
  setQuantity(lineOf(event.target), event.target.value);
});
$("lines").addEventListener("focusin", (event) => {
  if (event.target instanceof HTMLInputElement) event.target.select();
});
$("search-form").addEventListener("submit", (event) => event.preventDefault());
$("search").addEventListener("keydown", (event) => {
  if (event.key === "Enter") {
    event.preventDefault();
    searchEnter(event.target);
  }
  if (event.key === "Escape") {
    event.target.value = "";
    event.target.blur();
    refreshGoods();
  }
});

function keyName(event) {
  const key = /^Digit\d$/.test(event.code) ? event.code.slice(5) : event.key;
  return event.altKey ? `Alt+${key}` : key;
}

function pressShortcut(event) {
  const dialog = document.querySelector("dialog[open]");
  const buttons = (dialog ?? document).querySelectorAll(
    `[data-key="${CSS.escape(keyName(event))}"]:not([disabled])`,
  );
  const button = [...buttons].find((one) => one.checkVisibility());
  if (!button) return false;
  if (takeTyped()) button.click();
  return true;
}

const plainKeys = {
  "/": () => $("search").focus(),
  "?": () => $("help").showModal(),
  "+": () => inTurn(() => cart.marked && step(cart.marked, 1)),
  "-": () => inTurn(() => cart.marked && step(cart.marked, -1)),
  Delete: () => inTurn(() => !isLocked() && cart.marked && (touch(), cart.remove(cart.marked))),
  ArrowDown: () => moveMark(1),
  ArrowUp: () => moveMark(-1),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey) return;
  if (event.key === "F9") {
    event.preventDefault(); // the menu that has its button is closed
    showSwitch();
    return;
  }
  if ((event.altKey || /^F\d+$/.test(event.key)) && pressShortcut(event)) {
    event.preventDefault();
    return;
  }
  const isTyping = event.target instanceof HTMLInputElement;
  if (event.altKey || isTyping || document.querySelector("dialog[open]")) return;
  const act = plainKeys[event.key];
  if (!act || scanner.isBurst()) return;
  event.preventDefault();
  act();
});

scanner.listen({
  onScan: (code) => {
    takeTyped();
    inTurn(() => scan(code));
  },
  // In the search and the code box Enter looks up by itself; a whole phone number was
  // typed.
  isTyped: (field) =>
    field?.id === "search" ||
    field?.id === "code" ||
    field?.id === "pin" ||
    (field?.id === "phone" && ["good", "wait"].includes(judge(field.value)[0])),
});

// --- what arrives ----------------------------------------------------------------

cart.addEventListener("change", draw);
sheet.addEventListener("leave", leave);
sheet.addEventListener("arrived", ({ detail }) => {
  if (detail.frozen === "1" && detail.order === cart.order?.id) freeze();
  if (detail.frozen === "1" && detail.order === viewing?.id) viewing.isFrozen = true;
  refreshPill();
});
for (const id of Object.keys(sides)) {
  trouble.listen($(`${id}-body`), (kind) =>
    trouble.tell($(`${id}-body`), kind, { again: () => fill(id), leave: () => $(id).close() }),
  );
}

// A press that begins on one button and ends on the one that took its place is no
// click: what may change by itself does not change under a finger.
const refreshes = { pill: refreshPill, goods: refreshGoods };
const postponed = new Set();
let isPressed = false;
document.addEventListener("pointerdown", () => (isPressed = true), true);
for (const name of ["pointerup", "pointercancel"])
  document.addEventListener(name, () => setTimeout(release), true);
// The window's own, not that of a field which the press takes the focus from.
window.addEventListener("blur", () => setTimeout(release));
for (const id of Object.keys(refreshes))
  $(id).addEventListener("htmx:beforeSwap", ({ detail }) => {
    if (!isPressed) return;
    detail.shouldSwap = false;
    postponed.add(id);
  });

function release() {
  isPressed = false;
  const ids = [...postponed];
  postponed.clear();
  for (const id of ids) refreshes[id]();
}

$("goods").addEventListener("htmx:afterSwap", () => {
  $("goods").dataset.search = $("search").value.trim();
  drawCounts(cart);
});
$("queue-body").addEventListener("htmx:afterSwap", () => {
  document.querySelector("#queue-body .queue .btn")?.focus();
});
$("switch-body").addEventListener("submit", (event) => event.preventDefault());
$("switch-body").addEventListener("htmx:afterSwap", () => {
  const body = $("switch-body");
  (body.querySelector("#pin") ?? body.querySelector("h1"))?.focus();
});
window.addEventListener("storage", (event) => {
  if (event.key !== cart.key) return;
  cart.read();
  draw();
});
window.addEventListener("popstate", () => openFromUrl());

live.addEventListener("up", () => showLink("on", "connected"));
live.addEventListener("down", () => showLink("off", "disconnected"));
live.addEventListener("look", ({ detail }) => {
  refreshPill();
  if (!detail.orderId || detail.orderId === sheet.orderId) sheet.look();
});

function showLink(state, name) {
  $("live").dataset.state = state;
  $("live").querySelector(".live-word").textContent = word(name);
}

function openFromUrl() {
  const query = new URLSearchParams(window.location.search);
  const orderId = query.get("sale");
  if (orderId && /^[0-9a-f-]{36}$/.test(orderId)) view(orderId);
  else if (sheet.orderId) leave();
}

async function refreshCart() {
  if (cart.isEmpty || cart.isFrozen) return;
  const ids = cart.lines.map((line) => line.id).join(",");
  try {
    const { products } = await server.json(`${page.prices}?ids=${ids}`);
    const { gone, dearer } = cart.refresh(products);
    if (gone) tell(word("gone"));
    else if (dearer) tell(word("pricesChanged"));
  } catch {
    // Without the server the kept prices stand; paying asks again.
  }
}

tone.listen();
draw();
live.start();
refreshCart().then(openFromUrl); // a sheet asks for what the goods cost today
