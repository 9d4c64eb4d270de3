// Small things for the page. Text goes into it as text only: nothing here or elsewhere parses HTML.

import { lang, t } from "./i18n.js";

export const $ = (id) => document.getElementById(id);

/**
 * An element. `props`: `class`, `text`, `on` (handlers by event), `data` (data attributes), the rest are attributes;
 * `null`, `undefined` and `false` leave one out. Children that are null are left out as well.
 */
export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "class") node.className = value;
    else if (name === "text") node.textContent = value;
    else if (name === "on") for (const [event, handler] of Object.entries(value)) node.addEventListener(event, handler);
    else if (name === "data") for (const [key, item] of Object.entries(value)) node.dataset[key] = item;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

export function button(action, text, handler, props = {}) {
  return el("button", { type: "button", text, data: { action }, on: { click: handler }, ...props });
}

/** A button that asks once more before it does something that cannot be undone. */
export function armed(action, text, handler, props = {}) {
  let timer = null;
  const calm = (node) => {
    clearTimeout(timer);
    timer = null;
    node.textContent = text;
    node.classList.remove("armed");
  };
  const clicked = ({ currentTarget: node }) => {
    if (timer) {
      calm(node);
      return handler();
    }
    node.textContent = t("sure");
    node.classList.add("armed");
    timer = setTimeout(() => calm(node), 4000);
  };
  return button(action, text, clicked, props);
}

export function timeText(iso) {
  const at = new Date(iso);
  if (Number.isNaN(at.getTime())) return "";
  const locale = lang() === "en" ? "en-GB" : "zh-CN";
  const clock = { hour: "2-digit", minute: "2-digit" };
  const isToday = at.toDateString() === new Date().toDateString();
  return at.toLocaleString(locale, isToday ? clock : { month: "2-digit", day: "2-digit", ...clock });
}

export function sizeText(bytes) {
  if (!Number.isFinite(bytes)) return "";
  const units = ["B", "KiB", "MiB", "GiB"];
  let step = 0;
  while (bytes >= 1024 && step < units.length - 1) {
    bytes /= 1024;
    step += 1;
  }
  return `${step === 0 ? bytes : bytes.toFixed(1)} ${units[step]}`;
}

export function nameOf(user) {
  if (!user) return t("somebody_gone");
  return user.username;
}

/** Tells screen readers. */
export function announce(text) {
  $("live").textContent = text;
}

let toastTimer = null;

/** A line at the foot of the page, for a while. */
export function toast(text, kind = "info") {
  const node = $("toast");
  node.textContent = text;
  node.dataset.kind = kind;
  node.hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => (node.hidden = true), 6000);
}

export const toastFault = (fault) => toast(fault.message, "error");

/** Calls the last of a burst only. */
export function settled(ms, then) {
  let timer = null;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(then, ms);
  };
}
