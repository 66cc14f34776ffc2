import { describe, expect, test } from "vitest";
import { placeOf } from "../src/address.ts";
import type { Page, Place } from "../src/address.ts";
import { tunnelTo, wayTo } from "../src/way.ts";
import type { Questions } from "../src/way.ts";

const page = (origin: string, base: string | null = "/"): Page => {
  const { hostname, protocol } = new URL(origin);
  return { hostname, origin, secure: protocol === "https:", base };
};

function place(address: string, at: Page): Place {
  const found = placeOf(address, at);
  if (!found) throw new Error(`${address} may not be opened`);
  return found;
}

/** Answers, or a question that must not be asked. */
function answers(direct: boolean | null | "unasked", proxy: boolean | null | "unasked"): Questions {
  const say = (answer: boolean | null | "unasked", name: string) => () => {
    if (answer === "unasked") throw new Error(`${name} was asked`);
    return answer;
  };
  return { direct: say(direct, "direct"), proxy: say(proxy, "proxy") };
}

const NEAR = page("http://127.0.0.1:8888");
const FAR = page("http://hub.example:8000", "/user/ada/");
const SAFE = page("https://hub.example", "/user/ada/");
const APP = "http://127.0.0.1:8502/app?x=1";

describe("from a page of this machine", () => {
  test.each([NEAR, page("http://localhost:8888"), page("http://[::1]:8888")])("the app is reached directly: %o", (at) => {
    expect(wayTo(place(APP, at), at, answers(true, "unasked"))).toEqual({ kind: "direct", url: APP });
  });

  test("through the proxy when nothing answers directly, as behind a tunnel", () => {
    expect(wayTo(place(APP, NEAR), NEAR, answers(false, true))).toEqual({ kind: "proxied", url: "/proxy/8502/app?x=1" });
    expect(wayTo(place(APP, NEAR), NEAR, answers(false, false))).toEqual({ kind: "none", why: "silent" });
  });

  test("nothing is said while it is not known", () => {
    expect(wayTo(place(APP, NEAR), NEAR, answers(null, "unasked"))).toBeNull();
    expect(wayTo(place(APP, NEAR), NEAR, answers(false, null))).toBeNull();
  });
});

describe("from a page of another machine", () => {
  test("through the proxy, and the address itself is never tried", () => {
    expect(wayTo(place(APP, FAR), FAR, answers("unasked", true))).toEqual({ kind: "proxied", url: "/user/ada/proxy/8502/app?x=1" });
    expect(wayTo(place(APP, FAR), FAR, answers("unasked", null))).toBeNull();
  });

  test("not at all without the proxy, or without a Jupyter server", () => {
    expect(wayTo(place(APP, FAR), FAR, answers("unasked", false))).toEqual({ kind: "none", why: "elsewhere" });
    const other = page("http://colab.example", null);
    expect(wayTo(place(APP, other), other, answers("unasked", "unasked"))).toEqual({ kind: "none", why: "elsewhere" });
  });

  test("directly where the app listens on the page's own host", () => {
    const app = place("http://hub.example:8502", FAR);
    expect(wayTo(app, FAR, answers(true, "unasked"))).toEqual({ kind: "direct", url: "http://hub.example:8502/" });
    expect(wayTo(app, FAR, answers(false, "unasked"))).toEqual({ kind: "none", why: "silent" });
  });
});

describe("from a page that came over https", () => {
  test("an http app through the proxy only, also on the same machine", () => {
    const near = page("https://localhost:8888");
    expect(wayTo(place(APP, near), near, answers("unasked", true))).toEqual({ kind: "proxied", url: "/proxy/8502/app?x=1" });
    expect(wayTo(place(APP, near), near, answers("unasked", false))).toEqual({ kind: "none", why: "mixed" });
    expect(wayTo(place(APP, SAFE), SAFE, answers("unasked", false))).toEqual({ kind: "none", why: "elsewhere" });
    expect(wayTo(place("http://hub.example:8502", SAFE), SAFE, answers("unasked", "unasked"))).toEqual({ kind: "none", why: "mixed" });
  });

  test("an https app directly", () => {
    const near = page("https://localhost:8888");
    expect(wayTo(place("https://localhost:8502", near), near, answers(true, "unasked"))).toEqual({ kind: "direct", url: "https://localhost:8502/" });
  });
});

test("an address that leads upwards stays below the proxy", () => {
  const way = wayTo(place("http://127.0.0.1:8502/../../api/%2e%2e/shutdown", FAR), FAR, answers("unasked", true));
  expect(way).toEqual({ kind: "proxied", url: "/user/ada/proxy/8502/shutdown" });
});

test("the tunnel is told with the host that the page came from, where that is one", () => {
  expect(tunnelTo(place(APP, FAR), FAR)).toBe("ssh -L 8502:127.0.0.1:8502 hub.example");
  expect(tunnelTo(place("http://[::1]:8502", NEAR), NEAR)).toBe("ssh -L 8502:[::1]:8502 HOST");
});
