import { effect } from "@preact/signals";
import { describe, expect, test, vi } from "vitest";
import type { Page } from "../src/address.ts";
import { Reach } from "../src/reach.ts";
import type { Fit } from "../src/reach.ts";
import type { JobRecord } from "../src/schema.gen.ts";
import type { Way } from "../src/way.ts";
import { job } from "./jobs.ts";

const NEAR: Page = { hostname: "localhost", origin: "http://localhost:8888", secure: false, base: "/" };
const FAR: Page = { hostname: "hub.example", origin: "http://hub.example", secure: false, base: "/hub/" };
const app = (changes: Partial<JobRecord> = {}) => job({ id: "1", status: "running", started_at: 5, address: "http://127.0.0.1:8502", ready: true, ...changes });

type Answers = Readonly<Record<string, () => Response>>;

/** What the page fetched, and a reach that is answered so; where there is no answer, the connection is refused. */
function reaching(page: Page, answers: Answers) {
  const asked: string[] = [];
  const reach = new Reach(page, async (url, options) => {
    asked.push(`${options.method ?? "GET"} ${url}`);
    const answer = answers[url];
    if (!answer) throw new TypeError("Failed to fetch");
    return answer();
  });
  return { reach, asked };
}

const json = (value: unknown) => () => new Response(JSON.stringify(value));

async function wayOf(reach: Reach, record: JobRecord): Promise<Way> {
  let way: Way | null = null;
  const stop = effect(() => {
    ({ way } = reach.to(record));
  });
  await vi.waitFor(() => expect(way).not.toBeNull());
  stop();
  if (way === null) throw new Error("no way was found");
  return way;
}

async function fitOf(answer: (() => Response) | undefined): Promise<Fit | null> {
  const url = "/hub/proxy/8502/";
  const { reach } = reaching(FAR, answer ? { [url]: answer } : {});
  let fit: Fit | null = null;
  const stop = effect(() => {
    fit = reach.fit(app(), url);
  });
  await vi.waitFor(() => expect(fit).not.toBeNull());
  stop();
  return fit;
}

describe("what is asked", () => {
  test("nothing before the app is ready, and nothing of an address that may not be opened", () => {
    const { reach, asked } = reaching(NEAR, {});
    expect(reach.to(app({ ready: false })).way).toBeNull();
    expect(reach.to(app({ address: "http://evil.example:80" }))).toEqual({ place: null, way: null });
    expect(asked).toEqual([]);
  });

  test("the address once, however often it is drawn; and again for a new run, after a pause, or when told to", async () => {
    const { reach, asked } = reaching(NEAR, { "http://127.0.0.1:8502/": () => new Response("") });
    expect((await wayOf(reach, app())).kind).toBe("direct");
    await wayOf(reach, app({ message: "other" }));
    expect(asked).toEqual(["HEAD http://127.0.0.1:8502/"]);
    await wayOf(reach, app({ started_at: 6 }));
    expect(asked).toHaveLength(2);
    reach.again();
    await wayOf(reach, app());
    expect(asked).toHaveLength(3);
    reach.to(app({ ready: false }));
    await wayOf(reach, app());
    expect(asked).toHaveLength(4);
  });

  test("the proxy once for all apps", async () => {
    const { reach, asked } = reaching(FAR, { "/hub/server-proxy/servers-info": json({ server_processes: [] }) });
    const ways = [await wayOf(reach, app()), await wayOf(reach, app({ address: "http://127.0.0.1:8503" }))];
    expect(ways).toEqual([
      { kind: "proxied", url: "/hub/proxy/8502/" },
      { kind: "proxied", url: "/hub/proxy/8503/" },
    ]);
    expect(asked).toEqual(["GET /hub/server-proxy/servers-info"]);
  });
});

test.each([
  ["is not there", () => new Response("not found", { status: 404 })],
  ["is a page, not JSON", () => new Response("<h1>Login</h1>")],
  ["is other JSON", json([])],
  ["is null", json(null)],
])("an answer that %s is no proxy", async (_, answer) => {
  const { reach } = reaching(FAR, { "/hub/server-proxy/servers-info": answer });
  expect(await wayOf(reach, app())).toEqual({ kind: "none", why: "elsewhere" });
});

describe("what the proxy gives instead of the app", () => {
  test("is told by its status", async () => {
    expect(await fitOf(() => new Response("", { status: 500 }))).toEqual({ kind: "refused", status: 500 });
    expect(await fitOf(undefined)).toEqual({ kind: "refused", status: 0 });
  });

  test("a redirect out of the proxy is a refusal", async () => {
    const login = () => Object.defineProperty(new Response("<form>", { headers: { "Content-Type": "text/html" } }), "url", { value: "http://hub.example/hub/login?next=x" });
    expect(await fitOf(login)).toEqual({ kind: "refused", status: 403 });
  });

  test("what is no page is shown or opened by its kind", async () => {
    const of = (type: string) => () => new Response("x", { headers: { "Content-Type": type } });
    expect(await fitOf(of("text/plain; charset=utf-8"))).toEqual({ kind: "whole" });
    expect(await fitOf(of("image/png"))).toEqual({ kind: "whole" });
    expect(await fitOf(of("application/pdf"))).toEqual({ kind: "parts", files: 0, astray: "" });
  });
});
