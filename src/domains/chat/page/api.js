// Requests to the server. Every failure becomes an ApiFault with the server's own words.

// This file is <base>api/chat/test/api.js, so the server may live below any path.
const BASE = new URL("../../../", import.meta.url);

export class ApiFault extends Error {
  constructor(status, code, message, body = {}) {
    super(message);
    this.status = status;
    this.code = code;
    this.body = body;
  }
}

export function httpUrl(path, query = {}) {
  const url = new URL(path.replace(/^\//, ""), BASE);
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== null && value !== "") url.searchParams.set(name, value);
  }
  return url;
}

export function socketUrl(path, query = {}) {
  const url = httpUrl(path, query);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url.href;
}

// An address of a message, when it is one that a link may have.
export function safeUrl(text) {
  try {
    const url = new URL(text);
    return ["http:", "https:"].includes(url.protocol) ? url : null;
  } catch {
    return null;
  }
}

async function bodyOf(response) {
  const text = await response.text();
  try {
    return text === "" ? null : JSON.parse(text);
  } catch {
    return null;
  }
}

/**
 * One request. `options`: `query`, `body` (sent as JSON), `form` (a FormData), `token`, `lang`.
 * Gives `{ body, headers }`.
 */
export async function request(method, path, options = {}) {
  const headers = { "Accept-Language": options.lang ?? "zh" };
  if (options.token) headers.Authorization = `Bearer ${options.token}`;
  if (options.body !== undefined) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(httpUrl(path, options.query), {
      method,
      headers,
      body: options.form ?? (options.body === undefined ? undefined : JSON.stringify(options.body)),
      cache: "no-store",
    });
  } catch {
    throw new ApiFault(0, "unreachable", options.lang === "en" ? "The server does not answer." : "服务器没有应答");
  }
  const body = await bodyOf(response);
  if (!response.ok) {
    throw new ApiFault(response.status, body?.code ?? "unknown", body?.error ?? `HTTP ${response.status}`, body ?? {});
  }
  return { body, headers: response.headers };
}
