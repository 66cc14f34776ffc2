/** Made-up logs: lines of 64 bytes made on the fly, so that one can be a gigabyte. */

import type { JobRecord, LogMatches, LogPart } from "../src/schema.gen.ts";

const LINE = 64;
const began = Date.now();

export function logSize(job: JobRecord): number {
  if (job.status !== "running") return job.log_bytes;
  const first = job.number === 2 ? 2 ** 30 : 4096;
  return first + Math.floor((Date.now() - began) / 400) * LINE;
}

function line(n: number): string {
  const level = n % 23 === 0 ? "\x1b[33mWARN\x1b[0m" : n % 57 === 0 ? "\x1b[1;31mFAIL\x1b[0m" : "\x1b[32minfo\x1b[0m";
  const text = `${String(n).padStart(8, "0")} ${level} step ${n % 1000} loss=${(1 / (1 + (n % 97))).toFixed(4)}`;
  return `${text.slice(0, LINE - 1).padEnd(LINE - 1, " ")}\n`;
}

export function readLog(job: JobRecord, start: number, stop: number | null): LogPart {
  const size = logSize(job);
  const from = start < 0 ? Math.max(0, size + start) : Math.min(start, size);
  const to = Math.min(size, stop ?? size);
  const first = Math.floor(from / LINE);
  let text = "";
  for (let n = first; n * LINE < to; n += 1) text += line(n);
  text = text.slice(from - first * LINE, to - first * LINE);
  return { type: "log", id: job.id, start: from, stop: to, size, dropped_from: 0, dropped_to: 0, text };
}

export function searchLog(job: JobRecord, query: string): LogMatches {
  const size = logSize(job);
  const offsets: number[] = [];
  let total = 0;
  const lines = Math.min(size / LINE, 200_000);
  for (let n = 0; n < lines; n += 1) {
    if (!line(n).toLowerCase().includes(query.toLowerCase())) continue;
    total += 1;
    if (offsets.length < 1000) offsets.push(n * LINE);
  }
  return { type: "matches", id: job.id, query, offsets, total };
}
