/** Which rows are shown, and in which order. Pure. */

import { leftSeconds, lookOf, runSeconds } from "./model.ts";
import type { Look } from "./model.ts";
import type { JobRecord } from "./schema.gen.ts";

export type Column = "number" | "status" | "name" | "group" | "progress" | "time" | "memory" | "from";

export interface Sorting {
  readonly column: Column;
  readonly descending: boolean;
}

const RANK: Readonly<Record<Look, number>> = { failed: 0, running: 1, stopping: 2, waiting: 3, cancelled: 4, done: 5 };

type Key = number | string | null;

const KEYS: Readonly<Record<Column, (job: JobRecord, now: number) => Key>> = {
  number: (job) => job.number,
  status: (job) => RANK[lookOf(job)],
  name: (job) => `${job.name}\u0000${job.arguments}`,
  group: (job) => job.group,
  progress: (job, now) => leftSeconds(job, now) ?? (job.progress === null ? null : 1e9 - job.progress),
  time: (job, now) => runSeconds(job, now),
  memory: (job) => job.memory_bytes,
  from: (job) => job.origin || null,
};

const collate = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });

/** The jobs sorted; equal ones by order of submission, and those without a value last either way. */
export function sortJobs(jobs: readonly JobRecord[], { column, descending }: Sorting, now: number): string[] {
  const key = KEYS[column];
  const rows = jobs.map((job) => ({ id: job.id, number: job.number, key: key(job, now) }));
  const sign = descending ? -1 : 1;
  rows.sort((a, b) => {
    if (a.key === null || b.key === null) {
      if (a.key !== b.key) return a.key === null ? 1 : -1;
      return a.number - b.number;
    }
    const by = typeof a.key === "string" ? collate.compare(a.key, String(b.key)) : a.key - Number(b.key);
    return by * sign || a.number - b.number;
  });
  return rows.map((row) => row.id);
}

/** `fresh`, but what was shown before keeps its place and what is new comes last: for rows under a pointer. */
export function hold(before: readonly string[], fresh: readonly string[], known: (id: string) => boolean): string[] {
  const shown = new Set(before);
  return [...before.filter(known), ...fresh.filter((id) => !shown.has(id))];
}

/** The second, unless both hold the same; then the first, so that nobody is woken for nothing. */
export function settled(before: readonly string[], after: readonly string[]): readonly string[] {
  return before.length === after.length && before.every((id, i) => id === after[i]) ? before : after;
}

/** Indices of the rows to draw: those on the page and `spare` on either side. */
export function rowsWithin(top: number, height: number, row: number, count: number, spare: number): readonly [number, number] {
  const first = Math.max(0, Math.floor(top / row) - spare);
  return [Math.min(first, count), Math.min(count, Math.ceil((top + height) / row) + spare)];
}
