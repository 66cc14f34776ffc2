/** What the page knows of the engine, and how messages change it. Pure. */

import type { Beat, EngineRecord, JobRecord, Patch, Snapshot, Status } from "./schema.gen.ts";

/** The statuses as a reader counts them; a created job waits as well. */
export type Chip = "running" | "waiting" | "done" | "failed" | "cancelled";
/** How a job looks: a running one that is being stopped has a look of its own. */
export type Look = Chip | "stopping";

export const CHIPS: readonly Chip[] = ["running", "waiting", "done", "failed", "cancelled"];

const CHIP_OF: Readonly<Record<Status, Chip>> = {
  created: "waiting",
  pending: "waiting",
  running: "running",
  done: "done",
  failed: "failed",
  cancelled: "cancelled",
};

export const chipOf = (job: JobRecord): Chip => CHIP_OF[job.status];
export const isWaiting = (job: JobRecord): boolean => job.status === "pending" || job.status === "created";
export const isEnded = (job: JobRecord): boolean => !isWaiting(job) && job.status !== "running";
export const stopping = (job: JobRecord): boolean => job.cancel_requested && !isEnded(job);
export const lookOf = (job: JobRecord, asked = false): Look =>
  stopping(job) || (asked && !isEnded(job)) ? "stopping" : chipOf(job);

/** Jobs by id, and what follows from them. Mutable: copying 10,000 entries a patch would take 9 ms. */
export class Board {
  readonly jobs = new Map<string, JobRecord>();
  readonly counts: Record<Chip, number> = { running: 0, waiting: 0, done: 0, failed: 0, cancelled: 0 };
  engine: EngineRecord | null = null;
  epoch = "";
  seq = -1;
  #order: readonly string[] | null = [];

  /** Take a message in; "gap" when something before it is missing and a new snapshot is needed. */
  apply(message: Snapshot | Patch | Beat): "applied" | "ignored" | "gap" {
    if (message.type === "snapshot") {
      this.#reset(message);
      return "applied";
    }
    if (message.epoch !== this.epoch) return "gap";
    if (message.type === "beat") return message.seq > this.seq ? "gap" : "ignored";
    if (message.seq <= this.seq) return "ignored";
    if (message.seq !== this.seq + 1) return "gap";
    this.seq = message.seq;
    if (message.engine) this.engine = message.engine;
    for (const id of message.removed) this.#remove(id);
    for (const job of message.jobs) this.#put(job);
    return "applied";
  }

  /** Ids by order of submission; the same array for as long as no job comes or goes. */
  get order(): readonly string[] {
    this.#order ??= [...this.jobs.values()].sort((a, b) => a.number - b.number).map((job) => job.id);
    return this.#order;
  }

  #reset(message: Snapshot): void {
    this.jobs.clear();
    for (const chip of CHIPS) this.counts[chip] = 0;
    this.epoch = message.epoch;
    this.seq = message.seq;
    this.engine = message.engine;
    this.#order = null;
    for (const job of message.jobs) this.#put(job);
  }

  #put(job: JobRecord): void {
    const before = this.jobs.get(job.id);
    if (before) this.counts[chipOf(before)] -= 1;
    if (before?.number !== job.number) this.#order = null;
    this.jobs.set(job.id, job);
    this.counts[chipOf(job)] += 1;
  }

  #remove(id: string): void {
    const before = this.jobs.get(id);
    if (!before) return;
    this.jobs.delete(id);
    this.counts[chipOf(before)] -= 1;
    this.#order = null;
  }
}

/** Seconds that the current or last attempt has run; null before the first. */
export function runSeconds(job: JobRecord, now: number): number | null {
  if (job.started_at === null || isWaiting(job)) return null;
  return Math.max(0, (job.ended_at ?? now) - job.started_at);
}

/** Seconds left: what the job said, less the time since; else by its pace so far; null where there is no telling. */
export function leftSeconds(job: JobRecord, now: number): number | null {
  if (job.status !== "running" || job.progress === null || job.progress >= 1) return null;
  const at = job.progress_at ?? now;
  if (job.left_s !== null) return Math.max(0, job.left_s - (now - at));
  if (job.started_at === null || job.progress < 0.01) return null;
  const pace = (at - job.started_at) / job.progress;
  return Math.max(0, pace * (1 - job.progress) - (now - at));
}
