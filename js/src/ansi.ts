/**
 * Terminal output to styled text: colours become data, all other control sequences are dropped. Pure.
 *
 * Sequences as in ECMA-48 (5th edition, 1991), sections 5.4 and 8.3.117 (SGR), 256 colours as xterm has them.
 */

import { spelt } from "./format.ts";

/** 0 to 15 are names that the theme colours, anything else is "#rrggbb". */
export type Colour = number | string;

export interface Style {
  readonly fg?: Colour;
  readonly bg?: Colour;
  readonly bold?: true;
  readonly dim?: true;
  readonly italic?: true;
  readonly underline?: true;
  readonly strike?: true;
  readonly inverse?: true;
}

export interface Span {
  readonly text: string;
  readonly style: Style;
}

export const PLAIN: Style = Object.freeze({});

/** Characters of a line that are kept; a line can be a gigabyte. */
export const LINE_LIMIT = 8_000;

// Introducers: ESC [ or its one-byte form CSI; ESC ] P X ^ _ (or one-byte) open a string that ends with BEL or ST.
const TOKEN =
  /(?:\x1b\[|\x9b)([0-?]*)[ -/]*([@-~])|(?:\x1b[\]PX^_]|[\x90\x98\x9d\x9e\x9f])[^\x07\x1b\x9c\n]{0,4096}(?:\x07|\x9c|\x1b\\)?|(?:\x1b\[|\x9b)[0-?]*[ -/]*|\x1b[ -/]*[0-~]?|[\x00-\x08\x0b-\x1f\x7f-\x9f]|[\u200e\u200f\u061c\u2028-\u202e\u2066-\u2069\ufeff]/g;

/** The styles and text of one line (without its line end), and the style in which the next line begins. */
export function parseLine(raw: string, start: Style = PLAIN): { spans: Span[]; end: Style; cut: number } {
  const cut = Math.max(0, raw.length - LINE_LIMIT * 8);
  const line = new Line();
  let style = start;
  let from = 0;
  const text = cut ? raw.slice(0, LINE_LIMIT * 8) : raw;
  for (const match of text.matchAll(TOKEN)) {
    if (match.index > from) line.write(text.slice(from, match.index), style);
    from = match.index + match[0].length;
    const final = match[2];
    if (final === "m") style = restyle(style, match[1] ?? "");
    else if (final === "K") line.erase(match[1] ?? "");
    else if (final === undefined && match[0].length === 1) line.control(match[0], style, from === text.length);
  }
  if (from < text.length) line.write(text.slice(from), style);
  const { spans, dropped } = line.spans();
  return { spans, end: style, cut: cut + dropped };
}

/** The style in which a line after `raw` begins; much cheaper than parsing it. */
export function styleAfter(raw: string, start: Style): Style {
  if (!raw.includes("\x1b") && !raw.includes("\x9b")) return start;
  let style = start;
  for (const match of raw.matchAll(TOKEN)) if (match[2] === "m") style = restyle(style, match[1] ?? "");
  return style;
}

/** A line being written, as a terminal does: a carriage return goes back, what comes next overwrites. */
class Line {
  #runs: Span[] = [];
  #cells: { char: string; style: Style }[] | null = null;
  #column = 0;
  #length = 0;
  #dropped = 0;

  write(text: string, style: Style): void {
    if (this.#cells === null) {
      const room = LINE_LIMIT - this.#length;
      if (text.length > room) this.#dropped += text.length - Math.max(0, room);
      if (room <= 0) return;
      const kept = text.length > room ? text.slice(0, room) : text;
      this.#runs.push({ text: kept, style });
      this.#length += kept.length;
      return;
    }
    for (const char of text) {
      if (this.#column >= LINE_LIMIT) {
        this.#dropped += 1;
        continue;
      }
      this.#cells[this.#column] = { char, style };
      this.#column += 1;
    }
  }

  control(char: string, style: Style, last: boolean): void {
    if (char === "\r") {
      if (last) return; // the first half of a \r\n
      this.#split();
      this.#column = 0;
    } else if (char === "\b") {
      this.#split();
      this.#column = Math.max(0, this.#column - 1);
    } else if (char !== "\x07" && char !== "\x1b" && char !== "\x0e" && char !== "\x0f" && char !== "\ufeff") {
      this.write(spelt(char), style);
    }
  }

  erase(how: string): void {
    if (how === "2") {
      this.#split().fill({ char: " ", style: PLAIN });
    } else if (how === "" || how === "0") {
      const cells = this.#split();
      cells.length = Math.min(cells.length, this.#column);
    }
  }

  spans(): { spans: Span[]; dropped: number } {
    const spans: Span[] = [];
    let text = "";
    let style = PLAIN;
    const flush = () => {
      if (text) spans.push({ text, style });
      text = "";
    };
    const pieces = this.#cells === null ? this.#runs : this.#cells.map((cell) => ({ text: cell.char, style: cell.style }));
    for (const piece of pieces) {
      if (piece.style !== style) {
        flush();
        style = piece.style;
      }
      text += piece.text;
    }
    flush();
    return { spans, dropped: this.#dropped };
  }

  /** From here on column by column: something will be overwritten. */
  #split(): { char: string; style: Style }[] {
    if (this.#cells !== null) return this.#cells;
    const cells: { char: string; style: Style }[] = [];
    for (const { text, style } of this.#runs) for (const char of text) cells.push({ char, style });
    this.#column = cells.length;
    this.#cells = cells;
    return cells;
  }
}

const FLAGS: Readonly<Record<number, Partial<Style>>> = {
  1: { bold: true },
  2: { dim: true },
  3: { italic: true },
  4: { underline: true },
  7: { inverse: true },
  9: { strike: true },
};
const OFF: Readonly<Record<number, readonly (keyof Style)[]>> = {
  22: ["bold", "dim"],
  23: ["italic"],
  24: ["underline"],
  27: ["inverse"],
  29: ["strike"],
  39: ["fg"],
  49: ["bg"],
};
/** More numbers than any honest sequence has; the rest is ignored. */
const CODES_LIMIT = 32;

function without(style: Style, keys: readonly (keyof Style)[]): Style {
  const rest = { ...style };
  for (const key of keys) delete rest[key];
  return rest;
}

function restyle(before: Style, codes: string): Style {
  if (codes === "" || codes === "0") return PLAIN;
  if (/[<=>?]/.test(codes)) return before; // private, not a colour
  const list = codes.slice(0, 400).split(/[;:]/, CODES_LIMIT).map(Number);
  let style = before;
  for (let i = 0; i < list.length; i += 1) {
    const code = list[i] ?? 0;
    const off = OFF[code];
    if (code === 0) style = PLAIN;
    else if (off) style = without(style, off);
    else if (FLAGS[code]) style = { ...style, ...FLAGS[code] };
    else if (code >= 30 && code <= 37) style = { ...style, fg: code - 30 };
    else if (code >= 90 && code <= 97) style = { ...style, fg: code - 82 };
    else if (code >= 40 && code <= 47) style = { ...style, bg: code - 40 };
    else if (code >= 100 && code <= 107) style = { ...style, bg: code - 92 };
    else if (code === 38 || code === 48) {
      const key = code === 38 ? "fg" : "bg";
      if (list[i + 1] === 5) {
        const colour = indexed(list[i + 2] ?? 0);
        if (colour !== null) style = { ...style, [key]: colour };
        i += 2;
      } else if (list[i + 1] === 2) {
        style = { ...style, [key]: hex(list[i + 2] ?? 0, list[i + 3] ?? 0, list[i + 4] ?? 0) };
        i += 4;
      } else break;
    }
  }
  return style;
}

function hex(...channels: number[]): string {
  return `#${channels.map((each) => Math.min(255, Math.max(0, each | 0)).toString(16).padStart(2, "0")).join("")}`;
}

/** xterm's 256 colours: 16 names, a cube of 6 x 6 x 6, 24 greys. */
function indexed(n: number): Colour | null {
  if (!(n >= 0 && n <= 255)) return null;
  if (n < 16) return n;
  if (n >= 232) return hex(8 + (n - 232) * 10, 8 + (n - 232) * 10, 8 + (n - 232) * 10);
  const level = (each: number) => (each ? 55 + each * 40 : 0);
  const at = n - 16;
  return hex(level(Math.floor(at / 36)), level(Math.floor(at / 6) % 6), level(at % 6));
}
