// The cart: kept in this browser for one shop and one person, so that it survives
// a reload. It knows no page. `order` is the sale the server made of it, if any.
import { payable } from "./money.js";

const EMPTY = { lines: [], order: null, held: [], marked: null };

export class Cart extends EventTarget {
  constructor(key, storage) {
    super();
    this.key = key;
    this.storage = storage;
    this.read();
  }

  read() {
    let kept = null;
    try {
      kept = JSON.parse(this.storage.getItem(this.key));
    } catch {
      kept = null; // unreadable: begin anew
    }
    Object.assign(this, structuredClone(EMPTY), kept ?? {});
  }

  write() {
    const { lines, order, held, marked } = this;
    try {
      this.storage.setItem(this.key, JSON.stringify({ lines, order, held, marked }));
    } catch {
      // A full or forbidden store costs the memory of the cart, not the sale.
    }
    this.dispatchEvent(new Event("change"));
  }

  get isFrozen() {
    return Boolean(this.order?.frozen);
  }

  get isEmpty() {
    return this.lines.length === 0;
  }

  get pieces() {
    return this.lines.reduce((sum, line) => sum + line.quantity, 0);
  }

  get exact() {
    return this.lines.reduce((sum, line) => sum + line.price * line.quantity, 0);
  }

  get total() {
    return payable(this.exact);
  }

  // What the sheet asks for: with the prices, for these may change between two keys.
  get signature() {
    return this.lines
      .map((line) => `${line.id}×${line.quantity}×${line.price}`)
      .join(" ");
  }

  quantityOf(id) {
    return this.lines.find((line) => line.id === id)?.quantity ?? 0;
  }

  add(product) {
    const line = this.lines.find((one) => one.id === product.id);
    if (line) {
      line.quantity += 1;
      Object.assign(line, { price: product.price, name: product.name });
    } else {
      this.lines.push({ ...product, quantity: 1 });
    }
    this.marked = product.id;
    this.write();
  }

  setQuantity(id, quantity) {
    const line = this.lines.find((one) => one.id === id);
    if (line) line.quantity = quantity;
    this.marked = id;
    this.write();
  }

  remove(id) {
    const at = this.lines.findIndex((line) => line.id === id);
    if (at < 0) return;
    this.lines.splice(at, 1);
    this.marked = this.lines[Math.min(at, this.lines.length - 1)]?.id ?? null;
    this.write();
  }

  mark(id) {
    this.marked = id;
    this.write();
  }

  clear() {
    Object.assign(this, { lines: [], order: null, marked: null });
    this.write();
  }

  // The server's word on what this sale is.
  becomes(sale) {
    this.lines = sale.lines.map((line) => ({ ...line }));
    this.order = {
      id: sale.id,
      number: sale.number,
      frozen: sale.isFrozen,
      signature: this.signature,
    };
    this.write();
  }

  freeze() {
    if (!this.order || this.order.frozen) return;
    this.order.frozen = true;
    this.write();
  }

  // The same goods as a sale of their own.
  detach() {
    this.order = null;
    this.write();
  }

  hold() {
    if (this.isEmpty || this.isFrozen) return;
    this.held.push({ lines: this.lines, order: this.order, at: Date.now() });
    this.clear();
  }

  recall(index) {
    const [sale] = this.held.splice(index, 1);
    if (!this.isEmpty) {
      this.held.push({ lines: this.lines, order: this.order, at: Date.now() });
    }
    Object.assign(this, { lines: sale.lines, order: sale.order, marked: null });
    this.write();
  }

  // Today's names and prices; returns what that changed.
  refresh(products) {
    const today = new Map(products.map((product) => [product.id, product]));
    const gone = this.lines.some((line) => !today.has(line.id));
    const dearer = this.lines.some(
      (line) => today.has(line.id) && today.get(line.id).price !== line.price,
    );
    if (!gone && !dearer) return { gone, dearer };
    this.lines = this.lines
      .filter((line) => today.has(line.id))
      .map((line) => ({ ...line, ...today.get(line.id) }));
    this.write();
    return { gone, dearer };
  }
}
