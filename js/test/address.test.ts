import { describe, expect, test } from "vitest";
import { placeOf, portOf, shortOf } from "../src/address.ts";
import type { Page } from "../src/address.ts";

const LOCAL: Page = { hostname: "localhost", origin: "http://localhost:8888", secure: false, base: "/" };
const REMOTE: Page = { hostname: "hub.example", origin: "https://hub.example", secure: true, base: "/user/ada/" };

describe("an address that may be opened", () => {
  test.each([
    ["http://127.0.0.1:8502", "http://127.0.0.1:8502/"],
    ["http://127.0.0.1:8502/", "http://127.0.0.1:8502/"],
    ["http://localhost:1", "http://localhost:1/"],
    ["https://localhost:65535/app?a=1&b=%20#top", "https://localhost:65535/app?a=1&b=%20#top"],
    ["http://[::1]:8502", "http://[::1]:8502/"],
    ["http://127.0.0.1:80", "http://127.0.0.1/"],
    ["http://0.0.0.0:8502", "http://127.0.0.1:8502/"],
    ["http://127.0.0.1:8502?token=x", "http://127.0.0.1:8502/?token=x"],
  ])("%s is", (address, url) => {
    expect(placeOf(address, LOCAL)?.url).toBe(url);
    expect(placeOf(address, REMOTE)?.url).toBe(url);
  });

  test("the page's own host is, at another port", () => {
    expect(placeOf("http://hub.example:8502", REMOTE)?.url).toBe("http://hub.example:8502/");
    expect(placeOf("http://hub.example:8502", LOCAL)).toBeNull();
  });

  test("steps upwards are gone from its path, so that none is left to leave the proxy by", () => {
    expect(placeOf("http://127.0.0.1:8502/../../api/contents", LOCAL)?.path).toBe("/api/contents");
    expect(placeOf("http://127.0.0.1:8502/%2e%2e/%2E%2E/x", LOCAL)?.path).toBe("/x");
    expect(placeOf("http://127.0.0.1:8502/a/./b", LOCAL)?.path).toBe("/a/b");
  });

  test("it is said in short", () => {
    const place = placeOf("http://127.0.0.1:8502/app", LOCAL);
    expect(place && [portOf(place), shortOf(place)]).toEqual([":8502", "127.0.0.1:8502/app"]);
  });
});

describe("anything else is text", () => {
  test.each([
    "",
    " ",
    "8502",
    "127.0.0.1:8502",
    "//127.0.0.1:8502",
    "//evil.example:80",
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)//127.0.0.1:80",
    "javascript://127.0.0.1:80/%0aalert(1)",
    "data:text/html,<script>alert(1)</script>",
    "blob:http://127.0.0.1:80/1",
    "file:///etc/passwd",
    "ftp://127.0.0.1:80",
    "ws://127.0.0.1:80",
    "http://evil.example:80",
    "http://evil.example",
    "http://127.0.0.1", // no port
    "http://127.0.0.1:",
    "http://127.0.0.1:0",
    "http://127.0.0.1:65536",
    "http://127.0.0.1:99999999",
    "http://127.0.0.1:-1",
    "http://127.0.0.1:8502@evil.example:80",
    "http://127.0.0.1:80@evil.example",
    "http://user@127.0.0.1:80",
    "http://user:pw@127.0.0.1:80",
    "http://127.0.0.1:80\\@evil.example",
    "http:\\\\127.0.0.1:80",
    "http:/127.0.0.1:80",
    "http:127.0.0.1:80",
    "http://127.0.0.1.evil.example:80",
    "http://evil.example/127.0.0.1:80",
    "http://evil.example#127.0.0.1:80",
    "http://evil.example?127.0.0.1:80",
    "http://localhost.evil.example:80",
    "http://127.0.0.1 :80",
    " http://127.0.0.1:80",
    "http://127.0.0.1:80 ",
    "http://127.0.0.1:80\n",
    "http://127.0.0.1:80\t/",
    "http://127.0.0.1:8\u00a00",
    "http://127.0.0.1:80/a b",
    "http://127.0.0.1:80/<script>",
    'http://127.0.0.1:80/"onload="x',
    "http://127.1:80",
    "http://2130706433:80",
    "http://0x7f.0.0.1:80",
    "http://127.0.0.2:80",
    "http://10.0.0.1:80",
    "http://169.254.169.254:80",
    "http://[::ffff:127.0.0.1]:80",
    "http://[::2]:80",
    "http://loc\u0430lhost:80", // a Cyrillic letter
    "http://ⓛocalhost:80",
    "http://127。0。0。1:80",
    "http://localhost\u202e:80",
    `http://127.0.0.1:80/${"x".repeat(3000)}`,
  ])("%j", (address) => {
    expect(placeOf(address, LOCAL)).toBeNull();
    expect(placeOf(address, REMOTE)).toBeNull();
  });

  test.each(["http://localhost:8888", "http://127.0.0.1:8888/files/evil.html", "http://[::1]:8888", "http://0.0.0.0:8888"])("%s, the page's own server", (address) => {
    expect(placeOf(address, LOCAL)).toBeNull();
  });

  test("also where the page's port is the usual one, which is not said", () => {
    const page: Page = { hostname: "localhost", origin: "http://localhost", secure: false, base: "/" };
    expect(placeOf("http://127.0.0.1:80", page)).toBeNull();
    expect(placeOf("https://hub.example:443/files/evil.html", REMOTE)).toBeNull();
  });
});
