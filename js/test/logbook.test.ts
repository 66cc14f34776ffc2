import { describe, expect, test } from "vitest";
import { CHUNK, Logbook } from "../src/logbook.ts";
import type { LogPart } from "../src/schema.gen.ts";

/** A log of lines of 64 bytes, as a kernel would answer. */
function part(start: number, stop: number | null, size: number): LogPart {
  const from = start < 0 ? Math.max(0, size + start) : Math.min(start, size);
  const to = Math.min(size, stop ?? size);
  let text = "";
  for (let at = from; at < to; at += 1) text += at % 64 === 63 ? "\n" : "x";
  return { type: "log", id: "j", start: from, stop: to, size, dropped_from: 0, dropped_to: 0, text };
}

const bytesHeld = (book: Logbook): number => book.pieces.reduce((sum, piece) => sum + piece.text.length, 0);

describe("a logbook", () => {
  test("begins with the end, at the start of a line", () => {
    const book = new Logbook();
    const { start, stop } = book.tail();

    book.put(part(start, stop, 1_000_010), true);

    expect(book.start % 64).toBe(0);
    expect(book.stop).toBe(1_000_010);
    expect(book.atEnd).toBe(true);
    expect(book.atStart).toBe(false);
  });

  test("goes back to the very start, never holding much", () => {
    const book = new Logbook();
    book.put(part(-CHUNK, null, 1_000_000), true);

    for (let i = 0; i < 100; i += 1) {
      const before = book.before();
      if (!before) break;
      book.put(part(before.start, before.stop, 1_000_000), false);
      expect(bytesHeld(book)).toBeLessThanOrEqual(5 * CHUNK);
      for (const [n, piece] of book.pieces.entries()) expect(piece.stop).toBe(book.pieces[n + 1]?.start ?? book.stop);
    }

    expect(book.atStart).toBe(true);
    expect(book.start).toBe(0);
  });

  test("grows with the log, and lets go of the start", () => {
    const book = new Logbook();
    book.put(part(-CHUNK, null, 100), true);

    for (let size = 100; size < 1_000_000; size += 5000) {
      const more = book.more(size);
      if (more) book.put(part(more.start, more.stop, size), more.start < 0);
    }

    expect(book.stop).toBeGreaterThan(990_000);
    expect(bytesHeld(book)).toBeLessThanOrEqual(9 * CHUNK);
    expect(book.pieces.length).toBeLessThanOrEqual(4);
  });

  test("asks for the end when it has fallen far behind", () => {
    const book = new Logbook();
    book.put(part(0, CHUNK, 10_000_000), true);

    expect(book.more(10_000_000)).toEqual({ start: -CHUNK, stop: null });
    expect(book.more(CHUNK)).toBeNull();
  });

  test("a place that was asked for is the first line", () => {
    const book = new Logbook();

    book.put(part(640, 640 + CHUNK, 1_000_000), true);

    expect(book.start).toBe(640);
  });

  test("steps over what is no longer kept", () => {
    const book = new Logbook();
    const dropped = { dropped_from: 1000, dropped_to: 900_000 };
    book.put({ ...part(900_000, 1_000_000, 1_000_000), ...dropped }, true);

    const before = book.before();
    expect(before).toEqual({ start: 0, stop: 1000 });
    book.put({ ...part(0, 1000, 1_000_000), ...dropped }, false);

    expect(book.pieces.map((piece) => piece.start)).toEqual([0, 900_000]);
    expect(book.atStart).toBe(true);
  });

  test("an empty answer changes nothing but the size", () => {
    const book = new Logbook();
    book.put(part(0, 100, 100), true);

    book.put(part(100, 200, 100), false);

    expect(book.pieces.length).toBe(1);
    expect(book.atEnd).toBe(true);
  });

  test("a line is not cut where bytes were replaced, as their number is not known", () => {
    const book = new Logbook();

    book.put({ ...part(500_000, 500_010, 500_010), text: "\ufffd\nabc" }, true);

    expect(book.pieces[0]?.text).toBe("\ufffd\nabc");
  });
});
