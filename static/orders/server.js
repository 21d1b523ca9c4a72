// Asking the server from a script: JSON or a fragment, and what to say if it fails.
import { word } from "./words.js";

export class Refused extends Error {
  constructor(status, body) {
    super(body.message);
    this.status = status;
    this.code = body.code ?? "";
    this.details = body.details ?? {};
    this.remedy = body.remedy ?? "";
  }
}

async function ask(url, options) {
  let response;
  try {
    response = await fetch(url, { signal: AbortSignal.timeout(25000), ...options });
  } catch {
    throw new Refused(0, { message: word("noLinkTitle"), remedy: word("noLink") });
  }
  const elsewhere = response.headers.get("HX-Redirect");
  if (elsewhere) window.location.assign(elsewhere);
  return response;
}

export async function json(url, body) {
  const headers = { Accept: "application/json" };
  const options = { headers };
  if (body !== undefined) {
    headers["Content-Type"] = "application/json";
    headers["X-CSRFToken"] = document.body.dataset.csrf;
    Object.assign(options, { method: "POST", body: JSON.stringify(body) });
  }
  const response = await ask(url, options);
  let told = {};
  try {
    told = await response.json();
  } catch {
    told = { message: word("brokenTitle"), remedy: word("broken") };
    throw new Refused(response.status, told);
  }
  if (!response.ok) throw new Refused(response.status, told);
  return told;
}

// Returns the fragment as text, or null where there is nothing new.
export async function fragment(url) {
  const response = await ask(url, { headers: { "HX-Request": "true" } });
  if (response.status === 204 || response.status >= 400) return null;
  return response.text();
}
