/** Finds out how this page reaches web apps. Each question is asked once, and has a few seconds to be answered. */

import { signal } from "@preact/signals";
import type { ReadonlySignal, Signal } from "@preact/signals";
import { placeOf } from "./address.ts";
import type { Page, Place } from "./address.ts";
import type { JobRecord } from "./schema.gen.ts";
import { wayTo } from "./way.ts";
import type { Way } from "./way.ts";

const PATIENCE_MS = 4000;

/** Whether a proxied page can live in a frame that is shut off from Jupyter's origin. */
export type Fit =
  | { readonly kind: "whole" }
  /**
   * It loads so many files of its own, or (0) its scripts want its server or the browser's storage. `astray` is one that
   * lies outside of the proxy's path, so that Jupyter is asked for it in a tab as well; empty when none does.
   */
  | { readonly kind: "parts"; readonly files: number; readonly astray: string }
  /** The proxy did not give the page: a status of HTTP, or 0 for none. */
  | { readonly kind: "refused"; readonly status: number };

type Fetch = (url: string, options: RequestInit) => Promise<Response>;

/** A ready web app: its place (null: not to be opened), and the way there (null: not known yet). */
export interface Reached {
  readonly place: Place | null;
  readonly way: Way | null;
}

export class Reach {
  readonly page: Page;
  #fetch: Fetch;
  #proxy: Signal<boolean | null> | null = null;
  #direct = new Map<string, Signal<boolean | null>>();
  #fits = new Map<string, Signal<Fit | null>>();
  /** Grows when all is asked again. */
  #round = signal(0);

  constructor(page: Page = pageHere(), ask: Fetch = (url, options) => fetch(url, options)) {
    this.page = page;
    this.#fetch = ask;
  }

  /**
   * How the app that this job runs is reached; nothing is asked before it is ready.
   *
   * Reads signals, so that a view is drawn again when it is known.
   */
  to(job: JobRecord): Reached {
    void this.#round.value;
    const place = placeOf(job.address, this.page);
    const run = `${job.started_at} ${place?.url}`;
    if (!job.ready) this.#direct.delete(run); // what was found before it went away says nothing of when it is back
    if (!place || !job.ready) return { place, way: null };
    const direct = () => this.#asked(this.#direct, run, () => this.#answers(place.url)).value;
    return { place, way: wayTo(place, this.page, { direct, proxy: () => this.#proxyThere().value }) };
  }

  /** Whether the page at a proxied address can live in a sandboxed frame; null until that is known. */
  fit(job: JobRecord, url: string): Fit | null {
    void this.#round.value;
    return this.#asked(this.#fits, `${job.started_at} ${url}`, () => this.#fitOf(url)).value;
  }

  /** Ask everything again. */
  again(): void {
    this.#proxy = null;
    this.#direct.clear();
    this.#fits.clear();
    this.#round.value += 1;
  }

  #asked<T>(known: Map<string, Signal<T | null>>, key: string, ask: () => Promise<T>): ReadonlySignal<T | null> {
    let answer = known.get(key);
    if (!answer) {
      const fresh = (answer = signal<T | null>(null));
      known.set(key, fresh);
      void ask().then((value) => (fresh.value = value));
    }
    return answer;
  }

  #proxyThere(): ReadonlySignal<boolean | null> {
    if (!this.#proxy) {
      const fresh = (this.#proxy = signal<boolean | null>(null));
      void this.#hasProxy().then((there) => (fresh.value = there));
    }
    return this.#proxy;
  }

  /** Another origin's answer can't be read, but that there is one can be told from none at all. */
  async #answers(url: string): Promise<boolean> {
    const patience = AbortSignal.timeout(PATIENCE_MS);
    try {
      await this.#fetch(url, { method: "HEAD", mode: "no-cors", credentials: "omit", cache: "no-store", signal: patience });
      return true;
    } catch {
      return patience.aborted; // slow to answer, but somebody took the call
    }
  }

  async #hasProxy(): Promise<boolean> {
    try {
      const answer = await this.#fetch(`${this.page.base}server-proxy/servers-info`, { signal: AbortSignal.timeout(PATIENCE_MS) });
      const info: unknown = answer.ok ? await answer.json() : null;
      return typeof info === "object" && info !== null && "server_processes" in info;
    } catch {
      return false;
    }
  }

  async #fitOf(url: string): Promise<Fit> {
    try {
      const answer = await this.#fetch(url, { headers: { Accept: "text/html" }, signal: AbortSignal.timeout(PATIENCE_MS) });
      const at = new URL(answer.url || url, this.page.origin);
      // Whoever is sent out of the proxy, to a login say, was not let in.
      if (!answer.ok || !at.pathname.startsWith(`${this.page.base}proxy/`)) return { kind: "refused", status: answer.ok ? 403 : answer.status };
      const type = answer.headers.get("Content-Type") ?? "";
      if (/^(text\/plain|image\/)/.test(type)) return { kind: "whole" };
      if (!type.startsWith("text/html")) return { kind: "parts", files: 0, astray: "" };
      return fitOfHtml(await answer.text(), at, url.slice(0, url.indexOf("/", `${this.page.base}proxy/`.length) + 1));
    } catch {
      return { kind: "refused", status: 0 };
    }
  }
}

const PARTS = "script[src], link[rel~=stylesheet][href], link[rel~=modulepreload][href], img[src], iframe[src], source[src]";
const TALKS = /\b(fetch|WebSocket|EventSource|XMLHttpRequest|localStorage|sessionStorage|indexedDB|sendBeacon|import)\b|document\.cookie/;

/**
 * What a page needs that it would not get in a frame of no origin.
 *
 * Measured in Chromium 156: such a frame sends no cookie of Jupyter's, so that each file and each form is answered with
 * a redirect to the login; module scripts, `fetch` and WebSockets fail for their origin `null`. What stands in the page
 * itself works. The parsed page is inert: no script of it runs and nothing is loaded.
 */
function fitOfHtml(html: string, at: URL, root: string): Fit {
  const page = new DOMParser().parseFromString(html, "text/html");
  const own = [...page.querySelectorAll(PARTS)].flatMap((each) => {
    try {
      const url = new URL(each.getAttribute("src") ?? each.getAttribute("href") ?? "", at);
      return url.origin === at.origin ? [url.pathname] : [];
    } catch {
      return [];
    }
  });
  if (own.length) return { kind: "parts", files: own.length, astray: own.find((path) => !path.startsWith(root)) ?? "" };
  const scripts = [...page.querySelectorAll("script:not([src])")];
  const talks = scripts.some((each) => TALKS.test(each.textContent ?? "")) || page.querySelector("form[method=post i]") !== null;
  return talks ? { kind: "parts", files: 0, astray: "" } : { kind: "whole" };
}

/** The page that this runs in. */
function pageHere(): Page {
  const { hostname, origin, protocol } = location;
  return { hostname, origin, secure: protocol === "https:", base: baseUrl() };
}

/** As JupyterLab and Notebook say it in their page. */
function baseUrl(): string | null {
  const said = document.getElementById("jupyter-config-data")?.textContent;
  if (!said) return null;
  try {
    const config: unknown = JSON.parse(said);
    const base: unknown = typeof config === "object" && config !== null ? Reflect.get(config, "baseUrl") : null;
    return typeof base === "string" && /^\/(?!\/)/.test(base) ? base.replace(/\/*$/, "/") : null;
  } catch {
    return null;
  }
}
