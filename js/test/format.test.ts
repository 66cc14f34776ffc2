import { describe, expect, test } from "vitest";
import { brief, bytes, clip, duration, elapsed, nameOf, percent, plural, remaining, share, stopwatch, upcoming, visible, visibleLines, whole } from "../src/format.ts";

describe("durations", () => {
  test.each([
    [-1, "0 s"],
    [0, "0 s"],
    [0.04, "0 s"],
    [0.43, "0.4 s"],
    [9.94, "9.9 s"],
    [9.96, "9 s"],
    [53.9, "53 s"],
    [124, "2m 04s"],
    [3599.9, "59m 59s"],
    [3725, "1h 02m"],
    [86400 * 3 + 4 * 3600, "3d 04h"],
  ])("%d seconds are %s", (seconds, text) => expect(duration(seconds)).toBe(text));

  test("what grows is in whole seconds", () => expect([0.4, 3.9, 60].map(elapsed)).toEqual(["0 s", "3 s", "1m 00s"]));

  test("a stopwatch counts minutes and hours", () => expect([42.9, 3723].map(stopwatch)).toEqual(["0:42", "1:02:03"]));

  test.each([
    [0.2, "~1 s"],
    [7.2, "~8 s"],
    [38, "~40 s"],
    [170, "~3 min"],
    [7200, "~2 h"],
    [86400 * 3, "~3 d"],
  ])("%d seconds left are %s", (seconds, text) => expect(remaining(seconds)).toBe(text));
});

describe("moments to come", () => {
  const noon = new Date(2026, 10, 25, 12, 0, 5).getTime() / 1000;

  test.each([
    [4, "12:00:05 · 4 s"],
    [3.4, "12:00:05 · 4 s"],
    [3599, "12:00:05 · 59m 59s"],
    [7240, "12:00 · 2h 00m"],
    [100_000, "2026-11-25 12:00 · 1d 03h"],
    [0, "12:00:05 · now"],
    [-2, "12:00:05 · now"],
  ])("%d seconds before", (left, text) => expect(upcoming(noon, noon - left)).toBe(text));
});

describe("figures", () => {
  test.each([
    [0, "0 B"],
    [1023, "1023 B"],
    [1024, "1 kB"],
    [4300, "4.2 kB"],
    [1023.7 * 1024, "1 MB"],
    [16 * 2 ** 30, "16 GB"],
    [2 ** 70, "1048576 PB"],
  ])("%d bytes are %s", (size, text) => expect(bytes(size)).toBe(text));

  test("a share says its unit once", () => {
    expect(share(5.4 * 2 ** 30, 16 * 2 ** 30)).toBe("5.4 of 16 GB");
    expect(share(500 * 2 ** 20, 16 * 2 ** 30)).toBe("500 MB of 16 GB");
  });

  test("thousands are set apart", () => expect([7, 1000, 1234567].map(whole)).toEqual(["7", "1,000", "1,234,567"]));

  test("nothing is finished before it is", () => expect([0.999, 1, 2].map(percent)).toEqual(["99 %", "100 %", "100 %"]));

  test("one is singular", () => expect([0, 1, 2].map((n) => plural(n, "job"))).toEqual(["0 jobs", "1 job", "2 jobs"]));
});

describe("foreign text", () => {
  test.each([
    ["null\u0000byte", "null␀byte"],
    ["abc\u202etxt.exe", "abc\\u202etxt.exe"],
    ["\u2066isolated\u2069", "\\u2066isolated\\u2069"],
    ["\u200b\u200c\u200d\ufeff", "\\u200b\\u200c\\u200d\\ufeff"],
    ["a\u200db", "a\\u200db"],
    ["line\u2028sep\n", "line\\u2028sep␊"],
    ["\x1b[31mred\x1b[0m", "␛[31mred␛[0m"],
    ["\x9b31m\x7f", "\\u009b31m␡"],
    ["lone \ud83d half", "lone \\ud83d half"],
    ["tag\u{e0041}", "tag\\u{e0041}"],
    ["<b>&amp;", "<b>&amp;"],
    ["{{constructor}}", "{{constructor}}"],
  ])("%j is shown as %s", (text, shown) => expect(visible(text)).toBe(shown));

  test.each(["👩\u200d💻", "👩🏽\u200d🚀", "❤\ufe0f\u200d🔥", "é", "e\u0301", "名前 שלום", "क्\u200dष"])("%s is left as it is", (text) =>
    expect(visible(text)).toBe(text),
  );

  test("lines and tabs stay where there may be several lines", () => expect(visibleLines("a\r\nb\tc\u202e\n")).toBe("a\nb\tc\\u202e\n"));

  test.each(["", " ", "\n\t", "\u2003"])("the name %j is shown as (unnamed)", (name) => expect(nameOf(name)).toBe("(unnamed)"));

  test("what no eye can see is no empty name", () => expect(nameOf("\u200b")).toBe("\\u200b"));

  test("a name of 10,000 characters is cut", () => expect(nameOf("x".repeat(10_000)).length).toBeLessThan(300));

  test("cutting tears no character apart", () => {
    expect(clip("👩\u200d💻".repeat(5), 3)).toBe(`${"👩\u200d💻".repeat(3)}…`);
    expect(clip("e\u0301e\u0301e\u0301", 2)).toBe("e\u0301e\u0301…");
    expect(clip("abc", 3)).toBe("abc");
  });

  test("a character with endless accents ends", () => expect(brief(`x${"\u0301".repeat(100_000)}`, 10).length).toBeLessThan(1000));
});
