// The language of the page: what the browser prefers until somebody chooses.

import { EN, ZH } from "./texts.js";

const KEY = "yunque.chat.lang";
const TABLES = { zh: ZH, en: EN };
const listeners = new Set();

function preferred() {
  try {
    const chosen = localStorage.getItem(KEY);
    if (chosen in TABLES) return chosen;
  } catch {
    // Storage may be switched off.
  }
  return /^zh/i.test(globalThis.navigator?.language ?? "zh") ? "zh" : "en";
}

let current = preferred();

export const lang = () => current;

/** A text with its {holes} filled. */
export function t(key, holes = {}) {
  const text = TABLES[current][key] ?? ZH[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in holes ? String(holes[name]) : whole));
}

/** Fills what the markup names: data-t is the text, data-t-<attribute> an attribute. */
export function translate(root) {
  for (const node of root.querySelectorAll("[data-t]")) node.textContent = t(node.dataset.t);
  for (const [attribute, key] of [["aria-label", "tLabel"], ["placeholder", "tPlaceholder"], ["title", "tTitle"]]) {
    const name = key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
    for (const node of root.querySelectorAll(`[data-${name}]`)) node.setAttribute(attribute, t(node.dataset[key]));
  }
}

export function onLanguage(listener) {
  listeners.add(listener);
}

export function setLanguage(language) {
  current = language;
  try {
    localStorage.setItem(KEY, language);
  } catch {
    // Then it lasts as long as the page.
  }
  apply();
}

export function apply() {
  document.documentElement.lang = current === "zh" ? "zh-CN" : "en";
  document.documentElement.dataset.lang = current;
  translate(document);
  for (const listener of listeners) listener();
}
