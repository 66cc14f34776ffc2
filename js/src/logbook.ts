/** The part of a job's log that the page holds: some 130 kB around where the reader is, of any size. Pure. */

import type { LogPart } from "./schema.gen.ts";

/** Bytes asked for at once. */
export const CHUNK = 32 * 1024;
/** Chunks that are held; the far end goes when one comes. */
const HELD = 4;

export interface Piece {
  readonly start: number;
  readonly stop: number;
  readonly text: string;
}

export interface Range {
  readonly start: number;
  readonly stop: number | null;
}

const encoder = new TextEncoder();
const size = (text: string): number => encoder.encode(text).length;

/** Contiguous pieces, oldest first. Each begins at a line's start where that could be had. */
export class Logbook {
  pieces: readonly Piece[] = [];
  size = 0;
  dropped: readonly [number, number] = [0, 0];

  get start(): number {
    return this.pieces[0]?.start ?? 0;
  }

  get stop(): number {
    return this.pieces.at(-1)?.stop ?? 0;
  }

  get atStart(): boolean {
    return this.start === 0 || (this.dropped[1] > 0 && this.dropped[0] === 0 && this.start <= this.dropped[1]);
  }

  get atEnd(): boolean {
    return this.stop >= this.size;
  }

  /** What to ask for to see the end. */
  tail(): Range {
    return { start: -CHUNK, stop: null };
  }

  /** What to ask for to see what has come since; the end when that is far away. */
  more(known: number): Range | null {
    if (known <= this.stop) return null;
    return known - this.stop > HELD * CHUNK || !this.pieces.length ? this.tail() : this.after();
  }

  before(): Range | null {
    if (this.atStart) return null;
    const [from, to] = this.dropped;
    const stop = to > 0 && this.start <= to && this.start > from ? from : this.start;
    const least = stop > to ? to : 0;
    return { start: Math.max(least, stop - CHUNK), stop };
  }

  after(): Range {
    return { start: this.stop, stop: this.stop + CHUNK };
  }

  /** Take an answer in. `fresh` when it stands alone and what was held before is void. */
  put(part: LogPart, fresh: boolean): void {
    this.size = part.size;
    this.dropped = [part.dropped_from, part.dropped_to];
    if (part.stop <= part.start) {
      if (fresh) this.pieces = [];
      return;
    }
    const given: Piece = { start: part.start, stop: part.stop, text: part.text };
    if (fresh || !this.pieces.length) this.pieces = [this.#trimmed(given, part.start !== 0 && fresh)];
    else if (this.#follows(this.stop, given.start)) this.#append(given);
    else if (this.#follows(given.stop, this.start)) this.pieces = [this.#fromLineStart(given), ...this.pieces].slice(0, HELD);
    else if (given.start < this.start || given.stop > this.stop) this.pieces = [this.#fromLineStart(given)];
  }

  /** A piece that begins within a line, except where the reader asked for that very place. */
  #trimmed(piece: Piece, tail: boolean): Piece {
    return tail && piece.stop >= this.size ? this.#fromLineStart(piece) : piece;
  }

  /** Less the rest of a line at its head. Left whole where bytes were replaced: their number can't be told then. */
  #fromLineStart(piece: Piece): Piece {
    if (piece.start === 0 || piece.start === this.dropped[1]) return piece;
    const end = piece.text.indexOf("\n");
    const head = piece.text.slice(0, end + 1);
    if (end < 0 || end + 1 === piece.text.length || head.includes("\ufffd")) return piece;
    return { start: piece.start + size(head), stop: piece.stop, text: piece.text.slice(end + 1) };
  }

  #follows(stop: number, start: number): boolean {
    return stop === start || (stop === this.dropped[0] && start === this.dropped[1] && start > 0);
  }

  #append(given: Piece): void {
    const last = this.pieces.at(-1);
    const joinable = last && last.stop === given.start && (span(last) < CHUNK || !last.text.endsWith("\n"));
    if (last && joinable && span(last) < 2 * CHUNK) {
      const joined = { start: last.start, stop: given.stop, text: last.text + given.text };
      this.pieces = [...this.pieces.slice(0, -1), joined];
    } else {
      this.pieces = [...this.pieces, given].slice(-HELD);
    }
  }
}

const span = (piece: Piece): number => piece.stop - piece.start;
