import { describe, expect, test } from "vitest";
import { LINE_LIMIT, parseLine, PLAIN, styleAfter } from "../src/ansi.ts";
import type { Style } from "../src/ansi.ts";

const text = (raw: string): string => parseLine(raw).spans.map((span) => span.text).join("");
const styles = (raw: string): (readonly [string, Style])[] => parseLine(raw).spans.map((span) => [span.text, span.style]);

describe("colours", () => {
  test("become data", () => expect(styles("a\x1b[31mred\x1b[0mb")).toEqual([["a", {}], ["red", { fg: 1 }], ["b", {}]]));

  test("are bright, from the cube, grey, or any", () => {
    expect(styles("\x1b[91ma\x1b[38;5;196mb\x1b[38;5;244mc\x1b[38;2;1;2;300md\x1b[48;5;3me")).toEqual([
      ["a", { fg: 9 }],
      ["b", { fg: "#ff0000" }],
      ["c", { fg: "#808080" }],
      ["d", { fg: "#0102ff" }],
      ["e", { fg: "#0102ff", bg: 3 }],
    ]);
  });

  test("are switched off one by one", () => {
    expect(styles("\x1b[1;4;32mx\x1b[22my\x1b[39;24mz")).toEqual([
      ["x", { bold: true, underline: true, fg: 2 }],
      ["y", { underline: true, fg: 2 }],
      ["z", {}],
    ]);
  });

  test("work with the one-byte introducer", () => expect(styles("\x9b31mC1 CSI")).toEqual([["C1 CSI", { fg: 1 }]]));

  test("go on in the next line", () => {
    const { end } = parseLine("\x1b[1;31mfirst");

    expect(end).toEqual({ bold: true, fg: 1 });
    expect(parseLine("second", end).spans).toEqual([{ text: "second", style: end }]);
    expect(styleAfter("\x1b[1;31mfirst", PLAIN)).toEqual(end);
  });

  test("never end in anything but a colour", () => {
    for (const [, style] of styles("\x1b[38;2;x;y;zma\x1b[38;5;999mb\x1b[38mc\x1b[?25ld\x1b[38;5;-1me")) {
      expect(String(style.fg ?? 0)).toMatch(/^(\d+|#[0-9a-f]{6})$/);
    }
  });
});

describe("other sequences are dropped", () => {
  test.each([
    ["a link", "\x1b]8;;http://x/phish\x1b\\Jupyter login\x1b]8;;\x1b\\", "Jupyter login"],
    ["the clipboard", "\x1b]52;c;cm0gLXJmIH4=\x07after", "after"],
    ["a title", "\x1b]0;title\x07after", "after"],
    ["a string without end", "before\x1b]0;title", "before"],
    ["a device string", "\x1bPq#0;2\x1b\\after", "after"],
    ["cursor movements", "\x1b[1000000000C!\x1b[5A\x1b[H", "!"],
    ["a clear screen", "\x1b[2Jafter", "after"],
    ["a broken sequence", "\x1b[31", ""],
    ["character sets", "\x1b(Bafter", "after"],
    ["bells", "\x07".repeat(1000), ""],
    ["an endless colour", `\x1b[${Array(20000).fill("1").join(";")}mafter`, "after"],
  ])("%s", (_name, raw, shown) => expect(text(raw)).toBe(shown));
});

describe("control characters", () => {
  test.each([
    ["progress 1%\rprogress 2%\rdone    ", "done     2%"],
    ["12345\rab", "ab345"],
    ["12345\r\x1b[Kab", "ab"],
    ["abc\b\bX", "aXc"],
    ["line\r", "line"],
    ["nul\u0000", "nul␀"],
    ["abc\u202etxt", "abc\\u202etxt"],
    ["tab\there", "tab\there"],
    ["<script>alert(1)</script>", "<script>alert(1)</script>"],
  ])("%j is shown as %j", (raw, shown) => expect(text(raw)).toBe(shown));

  test("overwriting keeps the colour of what is left", () => {
    expect(styles("\x1b[31mabcd\r\x1b[32mxy")).toEqual([["xy", { fg: 2 }], ["cd", { fg: 1 }]]);
  });
});

describe("size", () => {
  test("a long line is cut and says by how much", () => {
    const { spans, cut } = parseLine("x".repeat(1_000_000));

    expect(spans[0]?.text.length).toBe(LINE_LIMIT);
    expect(cut).toBe(1_000_000 - LINE_LIMIT);
  });

  test.each([
    ["carriage returns", "step\r".repeat(200_000)],
    ["open strings", "\x1b]".repeat(200_000)],
    ["open sequences", "\x1b[".repeat(200_000)],
    ["colours", "\x1b[31ma".repeat(100_000)],
  ])("a million characters of %s take no time to speak of", (_name, raw) => {
    const before = performance.now();
    parseLine(raw);
    styleAfter(raw, PLAIN);
    expect(performance.now() - before).toBeLessThan(1500);
  });
});
