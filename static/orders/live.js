// The live link: a WebSocket with back-off and jitter. It only says that something
// happened; what happened is read from the server, so a lost message loses nothing.
const LONGEST_WAIT_MS = 30000;
const POLL_DOWN_MS = 3000;
const POLL_UP_MS = 15000; // a link can be dead without knowing it

export class Live extends EventTarget {
  constructor(shop) {
    super();
    const scheme = window.location.protocol === "https:" ? "wss:" : "ws:";
    this.url = `${scheme}//${window.location.host}/ws/shop/?shop=${encodeURIComponent(shop)}`;
    this.failures = 0;
    this.isUp = false;
    this.socket = null;
    this.timer = null;
  }

  start() {
    this.connect();
    this.poll();
    window.addEventListener("online", () => this.connect());
    window.addEventListener("offline", () => this.socket?.close());
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this.look();
    });
  }

  look() {
    this.dispatchEvent(new CustomEvent("look", { detail: { orderId: null } }));
  }

  say(isUp) {
    this.isUp = isUp;
    this.dispatchEvent(new Event(isUp ? "up" : "down"));
  }

  poll() {
    setTimeout(
      () => {
        if (!document.hidden) this.look();
        this.poll();
      },
      this.isUp ? POLL_UP_MS : POLL_DOWN_MS,
    );
  }

  connect() {
    clearTimeout(this.timer);
    if (this.socket && this.socket.readyState < WebSocket.CLOSING) return;
    const socket = new WebSocket(this.url);
    this.socket = socket;
    // Only a message says that the server lets us listen: it may open and close.
    socket.addEventListener("message", (message) => {
      if (!this.isUp) this.welcome();
      else this.hear(message.data);
    });
    socket.addEventListener("close", () => {
      if (this.socket !== socket) return;
      this.say(false);
      this.again();
    });
  }

  welcome() {
    this.failures = 0;
    this.say(true);
    this.look(); // whatever happened while nobody listened
  }

  again() {
    this.failures += 1;
    const longest = Math.min(LONGEST_WAIT_MS, 500 * 2 ** this.failures);
    const wait = longest / 2 + (Math.random() * longest) / 2;
    this.timer = setTimeout(() => this.connect(), wait);
  }

  hear(data) {
    let told = {};
    try {
      told = JSON.parse(data);
    } catch {
      return;
    }
    const orderId = told.payment?.orderId ?? null;
    this.dispatchEvent(new CustomEvent("look", { detail: { orderId } }));
  }
}
