// Money is counted in cents, whole numbers only; a sale is paid in whole shillings.
const digits = new Intl.NumberFormat("en-KE", { maximumFractionDigits: 0 });

export function payable(cents) {
  return Math.floor((cents + 50) / 100) * 100;
}

export function amount(cents) {
  const sign = cents < 0 ? "−" : "";
  const whole = Math.abs(cents);
  const rest = whole % 100;
  const text = digits.format((whole - rest) / 100);
  return sign + (rest ? `${text}.${String(rest).padStart(2, "0")}` : text);
}

export function kes(cents) {
  return `KES ${amount(cents)}`;
}
