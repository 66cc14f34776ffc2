/** How this page reaches a web app: directly, through Jupyter's proxy, or not at all. Pure. */

import { isLoopback } from "./address.ts";
import type { Page, Place } from "./address.ts";

/** Why there is no way: the page is elsewhere; nothing answers here; an https page may not frame http. */
export type NoWay = "elsewhere" | "silent" | "mixed";

export type Way =
  | { readonly kind: "direct" | "proxied"; readonly url: string }
  | { readonly kind: "none"; readonly why: NoWay };

/** What must be found out first; each answer is null until it is known, and asked for only when it matters. */
export interface Questions {
  /** Whether something answers at the address itself, as seen from this browser. */
  direct(): boolean | null;
  /** Whether jupyter-server-proxy is there. */
  proxy(): boolean | null;
}

/** The way to a place; null while it is being found out. */
export function wayTo(place: Place, page: Page, ask: Questions): Way | null {
  const here = !isLoopback(place.host) || isLoopback(page.hostname);
  const mixed = page.secure && !place.secure;
  if (here && !mixed) {
    // A page on localhost may have come through a tunnel that brings no other port.
    const answers = ask.direct();
    if (answers === null) return null;
    if (answers) return { kind: "direct", url: place.url };
  }
  if (page.base !== null && isLoopback(place.host) && !place.secure) {
    const proxy = ask.proxy();
    if (proxy === null) return null;
    if (proxy) return { kind: "proxied", url: `${page.base}proxy/${place.port}${place.path}` };
  }
  return { kind: "none", why: !here ? "elsewhere" : mixed ? "mixed" : "silent" };
}

/** The port-forwarding command that makes a direct way. */
export function tunnelTo(place: Place, page: Page): string {
  const host = isLoopback(page.hostname) || page.hostname === "" ? "HOST" : page.hostname;
  return `ssh -L ${place.port}:${place.host === "localhost" ? "127.0.0.1" : place.host}:${place.port} ${host}`;
}
