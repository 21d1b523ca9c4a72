/* The virtual phone: asks every 700 ms what it should show, and shows it. */
const POLL_MS = 700;

const phone = document.getElementById("phone");
const address = `/phone/${phone.dataset.number}`;
const veil = document.getElementById("veil");
const dialog = document.getElementById("dialog");
const pin = document.getElementById("pin");
const trouble = document.getElementById("trouble");
const keys = document.querySelectorAll("[data-key]");

let shownPrompt = null;
let shownMessages = null;
let heard = 0;

function setText(id, text) {
  const element = document.getElementById(id);
  if (element.textContent !== text) element.textContent = text;
}

function showPrompt(prompt) {
  const id = prompt ? prompt.checkoutRequestId : null;
  if (id === shownPrompt) return;
  shownPrompt = id;
  veil.hidden = !prompt;
  phone.classList.toggle("ringing", Boolean(prompt));
  for (const key of keys) key.disabled = !prompt;
  trouble.textContent = "";
  pin.value = "";
  if (!prompt) return;
  setText("question", prompt.question);
  pin.focus({ preventScroll: true });
  if (navigator.vibrate) navigator.vibrate(200);
}

function messageItem(message) {
  const item = document.createElement("li");
  const head = document.createElement("b");
  const at = document.createElement("time");
  const text = document.createElement("p");
  head.textContent = "M-PESA";
  at.textContent = message.at;
  text.textContent = message.text;
  item.append(head, at, text);
  return item;
}

function showMessages(messages) {
  const now = JSON.stringify(messages);
  if (now === shownMessages) return;
  shownMessages = now;
  document.getElementById("messages").replaceChildren(...messages.map(messageItem));
  document.getElementById("no-messages").hidden = messages.length > 0;
}

function show(state) {
  setText("clock", state.time);
  setText("big-clock", state.time);
  setText("day", state.day);
  setText("balance", state.balanceShown);
  showMessages(state.messages);
  showPrompt(state.prompt);
}

/* An answer that was overtaken by a later one is not shown. */
async function ask(path, options) {
  heard += 1;
  const mine = heard;
  const response = await fetch(address + path, options);
  const state = await response.json();
  if (mine === heard && response.ok) show(state);
  return response.ok ? null : state.error;
}

function post(path, body) {
  return ask(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
}

async function press(key) {
  if (!shownPrompt) return;
  const error = await post("/press", {
    checkoutRequestId: shownPrompt,
    key,
    pin: pin.value,
  });
  trouble.textContent = error || "";
}

dialog.addEventListener("submit", (event) => {
  event.preventDefault();
  press("send");
});
for (const key of keys) key.addEventListener("click", () => press(key.dataset.key));
document.getElementById("top-up").addEventListener("click", () => post("/top-up", {}));

/* Lipa na M-PESA: a payment that nobody pushed. */
const lipa = document.getElementById("lipa");

function showWay() {
  const isBill = lipa.elements.type.value === "paybill";
  document.getElementById("lipa-account").hidden = !isBill;
  lipa.elements.reference.required = isBill;
  setText("lipa-number-label", isBill ? "Business number" : "Till number");
}

lipa.addEventListener("change", showWay);
lipa.addEventListener("submit", async (event) => {
  event.preventDefault();
  const send = document.getElementById("lipa-send");
  const field = lipa.elements;
  send.disabled = true;
  try {
    const error = await post("/pay", {
      type: field.type.value,
      number: field.number.value,
      reference: field.reference.value,
      amount: Number(field.amount.value),
      pin: field.pin.value,
    });
    setText("lipa-trouble", error || "");
    field.pin.value = "";
    if (!error) field.amount.value = "";
  } catch {
    setText("lipa-trouble", "The simulator did not answer.");
  }
  send.disabled = false;
});
showWay();

async function poll() {
  try {
    await ask("/state");
    phone.classList.remove("lost");
  } catch {
    phone.classList.add("lost");
  }
  setTimeout(poll, POLL_MS);
}

poll();
