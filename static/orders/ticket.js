// Draws the ticket and the counts on the tiles from the cart, or from a sale that
// another till made.
import { amount, kes, payable } from "./money.js";
import { pieces, word } from "./words.js";

const $ = (id) => document.getElementById(id);

function drawLine(line, isMarked, why) {
  const item = $("line").content.firstElementChild.cloneNode(true);
  item.dataset.id = line.id;
  item.classList.toggle("on", isMarked);
  item.querySelector("b").textContent = line.name;
  item.querySelector(".sumline").textContent = amount(line.price * line.quantity);
  item.querySelector("small").textContent = `${line.quantity} × ${amount(line.price)}`;
  item.querySelector("[data-act=pick]").setAttribute("aria-pressed", String(isMarked));
  item.querySelector("input").value = line.quantity;
  if (why) {
    item.querySelector(".why").textContent = why;
    item.querySelector(".why").hidden = false;
  }
  return item;
}

// Draws without taking the focus from the button or field that was just used.
function keepingFocus(list, draw) {
  const active = document.activeElement;
  const id = list.contains(active) ? active.closest("li")?.dataset.id : null;
  const act = active?.dataset.act ?? "";
  const isInput = active instanceof HTMLInputElement;
  draw();
  if (!id) return;
  const line = list.querySelector(`[data-id="${CSS.escape(id)}"]`) ?? list.querySelector(".on");
  line?.querySelector(isInput ? "input" : `[data-act="${act || "pick"}"]`)?.focus();
}

export function drawTicket({ cart, viewing, whys }) {
  const lines = viewing?.lines ?? cart.lines;
  const order = viewing ?? cart.order;
  const isLocked = Boolean(viewing) || cart.isFrozen;
  const exact = lines.reduce((sum, line) => sum + line.price * line.quantity, 0);
  const count = lines.reduce((sum, line) => sum + line.quantity, 0);
  const total = viewing?.total ?? payable(exact);
  const isEmpty = lines.length === 0;

  const list = $("lines");
  keepingFocus(list, () =>
    list.replaceChildren(
      ...lines.map((line) =>
        drawLine(line, !isLocked && line.id === cart.marked, whys.get(line.id)),
      ),
    ),
  );
  list.hidden = isEmpty;
  $("none-yet").hidden = !isEmpty;
  $("ticket").classList.toggle("locked", isLocked);
  $("sale-name").textContent = order ? `${word("sale")} ${order.number}` : word("newSale");
  $("count").textContent = isEmpty ? "" : pieces(count);
  $("fold-count").textContent = isEmpty ? word("empty") : pieces(count);
  $("clear").hidden = isEmpty || isLocked;
  $("rounding").hidden = total === exact;
  $("rounding").lastElementChild.textContent = amount(total - exact);
  $("total").textContent = kes(total);
  drawButtons({ cart, isEmpty, isLocked, total });
}

function drawButtons({ cart, isEmpty, isLocked, total }) {
  for (const id of ["hold", "cash", "mpesa"]) $(id).hidden = isLocked;
  for (const id of ["show", "leave"]) $(id).hidden = !isLocked;
  const held = cart.held.length;
  $("hold").firstElementChild.textContent =
    held ? word("held", String(held)) : word("hold");
  $("hold").disabled = isEmpty && !held;
  $("cash").disabled = isEmpty;
  $("mpesa").disabled = isEmpty;
  $("mpesa").firstElementChild.textContent = isEmpty ? "M-Pesa" : `M-Pesa · ${kes(total)}`;
}

export function drawCounts(cart) {
  for (const tile of document.querySelectorAll("[data-product]")) {
    const count = cart.isFrozen ? 0 : cart.quantityOf(tile.dataset.product);
    let badge = tile.querySelector(".n");
    tile.classList.toggle("picked", count > 0);
    if (!count) {
      badge?.remove();
      continue;
    }
    badge ??= tile.appendChild(Object.assign(document.createElement("em"), { className: "n" }));
    badge.textContent = String(count);
  }
}

export function drawHeld(cart) {
  $("held-list").replaceChildren(
    ...cart.held.map((sale, index) => {
      const item = $("held").content.firstElementChild.cloneNode(true);
      const count = sale.lines.reduce((sum, line) => sum + line.quantity, 0);
      const exact = sale.lines.reduce((sum, line) => sum + line.price * line.quantity, 0);
      const clock = new Date(sale.at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
      item.firstElementChild.dataset.index = String(index);
      item.querySelector("b").textContent = sale.lines.map((line) => line.name).slice(0, 2).join(", ");
      item.querySelector("small").textContent = `${pieces(count)} · ${clock}`;
      item.querySelector(".held-total").textContent = kes(payable(exact));
      return item;
    }),
  );
}
