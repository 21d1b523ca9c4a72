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

// Another tab may have chosen another shop: every request names this page's own.
const ofThisShop = () => ({ "X-Shop": document.body.dataset.shop });

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
  const headers = { Accept: "application/json", ...ofThisShop() };
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

// Returns the fragment as text, or null where there is nothing new. Throws Refused
// where it may not be seen any more.
export async function fragment(url) {
  const headers = { "HX-Request": "true", ...ofThisShop() };
  const response = await ask(url, { headers });
  if (response.status === 403 || response.status === 404) {
    throw new Refused(response.status, { message: word("refusedTitle"), remedy: word("refused") });
  }
  if (response.status === 204 || response.status >= 400) return null;
  return response.text();
}
