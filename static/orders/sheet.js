// The payment sheet: a dialog that shows what the server says about one sale. It
// keeps no state of money; it counts seconds down and asks again at the right time.
import * as tone from "./tone.js";
import * as server from "./server.js";
import * as trouble from "./trouble.js";
import { bindCash, bindPhone } from "./entry.js";

const GREEN_AT_LEAST_MS = 1500;
const ASK_AGAIN_MS = 5000;
const SOONEST_MS = 2000;
// What a form tells beside what is typed into it.
const FACTS_OF_FORM = ["#to-pay", "#undecided", ".paid-so-far:not(#claims)", "#claims", "#offer", "#found", ".notes:not(.codes)"];

const still = window.matchMedia("(prefers-reduced-motion: reduce)");
const clockText = (seconds) =>
  `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;

export class Sheet extends EventTarget {
  constructor(dialog) {
    super();
    this.dialog = dialog;
    this.panel = dialog.querySelector("#panel");
    this.announcer = dialog.querySelector("#announcer");
    this.base = document.body.dataset.panel;
    this.clocks = [];
    this.refreshAt = Infinity;
    this.isLooking = false;
    this.mustLook = false;
    this.shown = {};
    this.untold = "";
    this.greenUntil = 0;

    this.panel.addEventListener("htmx:afterSwap", () => this.arrived());
    trouble.listen(this.panel, (kind) => this.tellTrouble(kind));
    // Forms here are htmx's alone: a native submit would leave the page.
    this.panel.addEventListener("submit", (event) => event.preventDefault());
    dialog.addEventListener("cancel", (event) => event.preventDefault());
    dialog.addEventListener("keydown", (event) => this.escape(event));
    setInterval(() => this.tick(), 250);
  }

  get root() {
    return this.panel.firstElementChild;
  }

  get orderId() {
    return this.dialog.open ? (this.shown.order ?? null) : null;
  }

  get state() {
    return this.dialog.open ? (this.root?.dataset.state ?? "") : "";
  }

  open(orderId, query = "") {
    this.abort();
    if (this.shown.order !== orderId) this.panel.replaceChildren();
    this.shown.order = orderId;
    this.address = `${this.base}${orderId}${query}`;
    if (!this.dialog.open) this.dialog.showModal();
    trouble.fill(this.panel, this.address);
  }

  // What was sent is carried out all the same; only its answer is not awaited.
  abort() {
    window.htmx.trigger(this.panel, "htmx:abort");
  }

  close() {
    this.abort();
    this.shown = {};
    this.untold = "";
    this.refreshAt = Infinity;
    this.mustLook = false;
    this.clocks = [];
    if (this.dialog.open) this.dialog.close();
    this.panel.replaceChildren();
    this.dispatchEvent(new Event("closed"));
  }

  // How long the green must still be seen, in milliseconds.
  get greenLeft() {
    return Math.max(this.greenUntil - performance.now(), 0);
  }

  escape(event) {
    if (event.key !== "Escape") return;
    event.preventDefault(); // the browser's own closing would hide a prompt
    event.stopPropagation();
    if (this.root?.dataset.live !== "1" && !this.panel.querySelector(".htmx-request")) {
      this.dispatchEvent(new Event("leave"));
    }
  }

  arrived() {
    const root = this.root;
    if (!this.dialog.open || !root) return;
    const { state, order } = root.dataset;
    const was = this.shown;
    const isNew = was.state !== state || was.order !== order;
    this.shown = { order: order ?? was.order, state };
    this.start(root);
    if (root.dataset.tone && was.state && isNew && was.order === order) tone.good();
    if (state === "failed" && was.state && isNew && was.order === order) tone.bad();
    if (state === "paid" && isNew) this.greenUntil = performance.now() + GREEN_AT_LEAST_MS;
    root.classList.toggle("turning", isNew);
    if (isNew) this.announcer.textContent = root.dataset.say ?? "";
    this.focus(isNew);
    if (this.untold) this.tell(this.untold);
    this.dispatchEvent(new CustomEvent("arrived", { detail: root.dataset }));
  }

  focus(isNew) {
    const now = this.panel.querySelector('[data-focus="now"]');
    if (now) {
      now.focus(); // an answer came: the next key is for what it offers
      return;
    }
    if (!isNew && this.panel.contains(document.activeElement)) return;
    const first = this.panel.querySelector("[data-focus]:not([disabled])");
    (first ?? this.panel.querySelector("h1"))?.focus({ preventScroll: !isNew });
    if (first instanceof HTMLInputElement) first.select();
  }

  start(root) {
    const now = performance.now();
    const at = (seconds) => now + Number(seconds) * 1000;
    this.clocks = [];
    for (const clock of root.querySelectorAll("[data-count]")) {
      this.clocks.push({ until: at(clock.dataset.count), show: (s) => (clock.textContent = clockText(s)) });
    }
    for (const button of root.querySelectorAll("[data-until]")) {
      this.clocks.push({ until: at(button.dataset.until), show: (s) => this.free(button, s) });
    }
    const ring = root.querySelector("[data-ring]");
    if (ring) {
      const whole = Number(ring.dataset.ring);
      this.clocks.push({ until: at(ring.dataset.left), show: (s) => this.turn(ring, s, whole) });
    }
    const { refreshIn } = root.dataset;
    this.refreshAt = refreshIn === undefined ? Infinity : Math.max(at(refreshIn), now + SOONEST_MS);
    this.tick();
    const form = root.querySelector("[data-form]");
    if (form?.dataset.form === "mpesa") bindPhone(form);
    if (form?.dataset.form === "cash") bindCash(form);
  }

  tick() {
    const now = performance.now();
    for (const clock of this.clocks) {
      clock.show(Math.max(Math.ceil((clock.until - now) / 1000), 0));
    }
    if (now >= this.refreshAt) {
      const { every } = this.root?.dataset ?? {};
      this.refreshAt = now + (every === undefined ? ASK_AGAIN_MS : Number(every) * 1000);
      this.mustLook = true;
    }
    if (this.mustLook && !this.isAwaiting) this.look();
  }

  turn(ring, seconds, whole) {
    ring.querySelector("span").textContent = clockText(seconds);
    const left = still.matches ? 1 : Math.min(seconds / whole, 1);
    ring.querySelector(".left").style.strokeDashoffset = String(1 - left);
  }

  free(button, seconds) {
    button.querySelector(".clock").textContent = clockText(seconds);
    if (seconds > 0 || !button.querySelector(".ready").hidden) return;
    button.disabled = false;
    button.querySelector(".later").hidden = true;
    button.querySelector(".ready").hidden = false;
    const isNobodyBusy = !document.activeElement?.matches("#panel :is(button, input, a)");
    if ("focus" in button.dataset && isNobodyBusy) button.focus();
  }

  // Look whether the server says something else by now. An answer that is awaited may
  // be from before: then we look once it is there. What could not be opened is opened.
  async look() {
    const root = this.root;
    this.mustLook = this.isAwaiting;
    if (!this.dialog.open || !root || this.isAwaiting) return;
    this.isLooking = true;
    try {
      const { url, seen } = root.dataset;
      const joint = url?.includes("?") ? "&" : "?";
      const text = await server.fragment(url ? `${url}${joint}seen=${seen}` : this.address);
      if (trouble.kindIn(this.panel) === "refused") trouble.drop(this.panel);
      if (text !== null && this.root === root && !this.isBusy) this.take(root, text);
      else if (text !== null) this.mustLook = true;
    } catch (error) {
      // Without a link the dot says so, and the next look tries again.
      const isNews = this.root === root && trouble.kindIn(this.panel) !== "refused";
      if (error.status && isNews) this.tellTrouble("refused");
    } finally {
      this.isLooking = false;
    }
  }

  get isBusy() {
    const request = ".htmx-request";
    return this.panel.matches(request) || Boolean(this.panel.querySelector(request));
  }

  get isAwaiting() {
    return this.isLooking || this.isBusy;
  }

  take(root, text) {
    const fresh = document.createElement("template");
    fresh.innerHTML = text;
    const next = fresh.content.firstElementChild;
    const isSameForm =
      root.dataset.live === "form" && next?.dataset.state === root.dataset.state;
    if (isSameForm) {
      this.refreshForm(root, next);
      return;
    }
    const focused = this.panel.contains(document.activeElement) ? document.activeElement.id : "";
    // The box that a refusal asked to be ticked stays while it is the same payment.
    const risk = root.querySelector("#resend-form .confirm");
    const isSamePayment = next?.dataset.url === root.dataset.url;
    this.panel.innerHTML = text;
    const resend = this.panel.querySelector("#resend-form");
    if (risk && isSamePayment && !resend?.querySelector(".confirm")) resend?.prepend(risk);
    window.htmx.process(this.panel);
    if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
    this.arrived();
  }

  // A form that somebody types into keeps what is typed; only the facts change.
  refreshForm(root, next) {
    root.dataset.seen = next.dataset.seen;
    if (next.dataset.every === undefined) delete root.dataset.every;
    else root.dataset.every = next.dataset.every;
    for (const fact of FACTS_OF_FORM) {
      const [old, fresh] = [root.querySelector(fact), next.querySelector(fact)];
      const focused = old?.contains(document.activeElement) ? document.activeElement.id : "";
      if (old && fresh) old.replaceWith(fresh);
      else if (old) old.remove();
      else if (fresh) root.querySelector("form").before(fresh);
      if (fresh) window.htmx.process(fresh);
      if (focused) (document.getElementById(focused) ?? this.panel.querySelector("[data-focus]"))?.focus();
      if (fresh?.dataset.say && !old) this.announcer.textContent = fresh.dataset.say;
    }
    for (const field of ["#given", "#part"]) {
      const fresh = next.querySelector(field);
      if (fresh) root.querySelector(field).placeholder = fresh.placeholder;
    }
    // Whoever waits for an answer presses Enter on it; whoever types goes on typing.
    const now = root.querySelector('[data-focus="now"]');
    const code = root.querySelector("#code");
    if (now && document.activeElement === code && code.value === code.defaultValue) now.focus();
    const balance = next.querySelector("[data-balance]")?.dataset.balance;
    if (balance) root.querySelector("[data-balance]").dataset.balance = balance;
    root.querySelector("#given")?.dispatchEvent(new Event("input"));
  }

  // What the page says is not seen beneath the sheet; one that is empty yet tells it
  // once it has arrived.
  tell(text) {
    if (!this.dialog.open) return;
    const isThere = Boolean(this.root?.dataset.url);
    this.untold = isThere ? "" : text;
    if (isThere) trouble.show(this.panel, trouble.noteOf("wait", text));
  }

  tellTrouble(kind) {
    trouble.tell(this.panel, kind, {
      again: () => this.look(),
      leave: () => this.dispatchEvent(new Event("leave")),
    });
  }
}
