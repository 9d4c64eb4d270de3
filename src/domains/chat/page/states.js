// The states of a link (see link.js) in words.

import { t } from "./i18n.js";

export function stateText(state) {
  const { name, code, reason, error, attempt, until, again, resumed, truncated } = state;
  const key = `close_${reason ?? code}`;
  const known = t(key);
  const why = [error ?? (known === key ? t("close_other", { code }) : known), code].filter(Boolean).join(" · ");
  if (name === "waiting") {
    return t("state_waiting", { why, n: attempt, s: Math.max(0, Math.ceil((until - Date.now()) / 1000)) });
  }
  if (name === "connecting" && again) return t("state_reconnecting");
  if (name === "connected" && resumed !== null && resumed !== undefined) {
    return t(truncated ? "state_truncated" : "state_resumed", { n: resumed });
  }
  return t(`state_${name}`, { why });
}
