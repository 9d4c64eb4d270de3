// Who is signed in. The tokens live in sessionStorage, so they end with the tab.
//
// Events: "change" (signed in or out), "token" (a new access token, for open sockets).

import { ApiFault, request } from "./api.js";
import { lang } from "./i18n.js";

const KEY = "yunque.chat.session";
// Renewed when less than this, and less than a fifth of its life, is left.
const MARGIN_SECONDS = 60;
const LOOK_EVERY_MS = 5000;

/** The claims of a token, unverified; null when it is not a JWT. */
export function claimsOf(token) {
  try {
    const part = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    const bytes = Uint8Array.from(atob(part), (c) => c.charCodeAt(0));
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return null;
  }
}

/** Milliseconds on this clock at which a token should be renewed. The server's clock may be another one. */
export function renewAt(token, receivedAt) {
  const claims = claimsOf(token);
  if (!claims?.exp || !claims?.iat) return Infinity;
  const life = Math.max(0, claims.exp - claims.iat);
  return receivedAt + (life - Math.min(MARGIN_SECONDS, life / 5)) * 1000;
}

export class Session extends EventTarget {
  #tokens = null;
  #refreshing = null;
  // A duplicated tab has the same refresh token, and using it twice would end both.
  #others = "BroadcastChannel" in globalThis ? new BroadcastChannel(KEY) : null;

  constructor() {
    super();
    try {
      this.#tokens = JSON.parse(sessionStorage.getItem(KEY));
    } catch {
      this.#tokens = null;
    }
    this.#others?.addEventListener("message", ({ data }) => {
      if (this.#tokens && data?.instead === this.#tokens.refresh) this.#renewed(data);
    });
    setInterval(() => {
      if (this.#tokens && this.#isDue()) this.refresh().catch(() => {});
    }, LOOK_EVERY_MS);
  }

  get user() {
    return this.#tokens?.user ?? null;
  }

  #keep(tokens) {
    this.#tokens = tokens;
    if (tokens) sessionStorage.setItem(KEY, JSON.stringify(tokens));
    else sessionStorage.removeItem(KEY);
  }

  #isDue() {
    return Date.now() >= renewAt(this.#tokens.access, this.#tokens.receivedAt);
  }

  #renewed({ access, refresh }) {
    this.#keep({ ...this.#tokens, access, refresh, receivedAt: Date.now() });
    this.dispatchEvent(new CustomEvent("token", { detail: access }));
  }

  async login(username, password, code) {
    const body = code ? { username, password, code } : { username, password };
    const { body: answer } = await request("POST", "/api/token/", { body, lang: lang() });
    this.#keep({ access: answer.access, refresh: answer.refresh, user: answer.user, receivedAt: Date.now() });
    this.dispatchEvent(new Event("change"));
  }

  async register(username, email, password) {
    await request("POST", "/api/users/register/", { body: { username, email, password }, lang: lang() });
    await this.login(username, password);
  }

  async logout() {
    const tokens = this.#tokens;
    this.end();
    if (!tokens) return;
    const options = { token: tokens.access, body: { refresh: tokens.refresh }, lang: lang() };
    await request("POST", "/api/token/logout/", options).catch(() => {});
  }

  /** Forgets the tokens; `why` is a text key that the sign-in form shows. */
  end(why = null) {
    if (!this.#tokens) return;
    this.#keep(null);
    this.dispatchEvent(new CustomEvent("change", { detail: why }));
  }

  /** A usable access token, or null when nobody is signed in. */
  async access() {
    if (this.#tokens && this.#isDue()) await this.refresh().catch(() => {});
    return this.#tokens?.access ?? null;
  }

  /** Gets new tokens; one request at a time. False: the session is over. Throws when the server cannot be reached. */
  refresh() {
    this.#refreshing ??= this.#refresh().finally(() => (this.#refreshing = null));
    return this.#refreshing;
  }

  async #refresh() {
    const before = this.#tokens;
    if (!before) return false;
    try {
      const { body } = await request("POST", "/api/token/refresh/", { body: { refresh: before.refresh }, lang: lang() });
      if (!this.#tokens) return false;
      this.#others?.postMessage({ instead: before.refresh, access: body.access, refresh: body.refresh });
      this.#renewed(body);
      return true;
    } catch (fault) {
      if (!(fault instanceof ApiFault) || ![400, 401, 403].includes(fault.status)) throw fault;
      // Another tab may have been faster.
      if (this.#tokens && this.#tokens.refresh !== before.refresh) return true;
      this.end("session_over");
      return false;
    }
  }

  /** A request as this user. A token that is no longer good is renewed once. */
  async call(method, path, options = {}) {
    const send = async () => request(method, path, { ...options, token: await this.access(), lang: lang() });
    try {
      return await send();
    } catch (fault) {
      if (fault.status !== 401 || !this.#tokens || !(await this.refresh())) throw fault;
      return await send();
    }
  }

  async get(path, query) {
    return (await this.call("GET", path, { query })).body;
  }

  async post(path, body = {}) {
    return (await this.call("POST", path, { body })).body;
  }
}
