/** A made-up kernel behind a made-up widget model: jobs that move, logs of any size, details. */

import type { JobRecord, MessageIn, MessageOut, SlotRecord } from "../src/schema.gen.ts";
import { detailOf } from "./details.ts";
import { logSize, readLog, searchLog } from "./logs.ts";
import { makeJob, move } from "./jobs.ts";

interface Options {
  readonly jobs: number;
  readonly patches: number;
  readonly records: number;
  readonly hostile: boolean;
  readonly job: string;
}

type Callback = (...values: unknown[]) => void;

export class FakeKernel {
  /** Say nothing any more. */
  mute = false;
  /** Milliseconds before a command is answered. */
  delay = 40;
  readonly jobs = new Map<string, JobRecord>();
  readonly received: MessageIn[] = [];
  #callbacks = new Map<string, Set<Callback>>();
  #options: Options;
  #seq = 0;
  #busySince: number | null = Date.now() / 1000 - 42;
  #limit = 8;
  #timers: ReturnType<typeof setInterval>[] = [];

  readonly model = {
    widget_manager: {},
    get: (name: string): unknown => (name === "job_id" ? this.#options.job : undefined),
    send: (message: MessageIn): void => this.#receive(message),
    on: (name: string, callback: Callback): void => {
      const set = this.#callbacks.get(name) ?? new Set();
      this.#callbacks.set(name, set.add(callback));
    },
    off: (name: string, callback: Callback): void => void this.#callbacks.get(name)?.delete(callback),
  };

  constructor(options: Options) {
    this.#options = options;
    for (let i = 1; i <= options.jobs; i += 1) {
      const job = makeJob(i, options.jobs, options.hostile);
      this.jobs.set(job.id, job);
    }
  }

  /** Let the web app among the jobs answer at an address, or be about to. */
  serve(address: string, ready: boolean): void {
    const job = this.jobs.get("job8");
    if (job) this.patch([{ ...job, address, ready }]);
  }

  restart(): void {
    this.mute = true;
    this.#trigger("comm_live_update");
  }

  idle(): void {
    this.#busySince = null;
    this.patch([]);
  }

  /** How many callbacks are left; 0 after dispose. */
  get listeners(): number {
    return [...this.#callbacks.values()].reduce((sum, set) => sum + set.size, 0);
  }

  patch(jobs: readonly JobRecord[], removed: readonly string[] = []): void {
    for (const job of jobs) this.jobs.set(job.id, job);
    for (const id of removed) this.jobs.delete(id);
    this.#seq += 1;
    this.#send({ type: "patch", epoch: "1", seq: this.#seq, now: Date.now() / 1000, engine: this.#engine(), jobs, removed });
  }

  #engine() {
    const slots: SlotRecord[] = [{ name: "", limit: this.#limit, used: 8 }];
    return {
      slots,
      memory_used_bytes: 5.4 * 2 ** 30,
      memory_total_bytes: 16 * 2 ** 30,
      busy_since: this.#busySince,
      busy_with: "In[6]",
      comm_subshell: true,
      dask_dashboard: "",
      running: true,
    };
  }

  #trigger(name: string, ...values: unknown[]): void {
    for (const callback of this.#callbacks.get(name) ?? []) callback(...values);
  }

  #send(message: MessageOut): void {
    if (!this.mute) this.#trigger("msg:custom", structuredClone(message));
  }

  #receive(message: MessageIn): void {
    this.received.push(message);
    setTimeout(() => this.#answer(message), message.type === "hello" ? 20 : this.delay);
  }

  #answer(message: MessageIn): void {
    if (this.mute) return;
    const now = Date.now() / 1000;
    switch (message.type) {
      case "hello":
        this.#send({ type: "snapshot", epoch: "1", seq: this.#seq, now, engine: this.#engine(), jobs: [...this.jobs.values()] });
        this.#run();
        break;
      case "bye":
        for (const timer of this.#timers.splice(0)) clearInterval(timer);
        break;
      case "cancel":
      case "rerun": {
        const changed = message.ids.flatMap((id) => {
          const job = this.jobs.get(id);
          return job ? [move(job, message.type)] : [];
        });
        this.patch(changed);
        const word = message.type === "cancel" ? "cancelled" : "queued again";
        this.#send({ type: "answer", request: message.request, ok: true, text: `${changed.length} ${word}` });
        break;
      }
      case "limit":
        this.#limit = message.limit;
        this.patch([]);
        this.#send({ type: "answer", request: message.request, ok: true, text: `up to ${message.limit} jobs at once` });
        break;
      case "inspect": {
        const job = this.jobs.get(message.id);
        if (job) this.#send(detailOf(job));
        break;
      }
      case "read_log": {
        const job = this.jobs.get(message.id);
        if (job) this.#send(readLog(job, message.start, message.stop));
        break;
      }
      case "search_log": {
        const job = this.jobs.get(message.id);
        if (job) this.#send(searchLog(job, message.query));
        break;
      }
    }
  }

  #run(): void {
    for (const timer of this.#timers.splice(0)) clearInterval(timer);
    const { patches, records } = this.#options;
    if (patches > 0) this.#timers.push(setInterval(() => this.patch(this.#some(records)), 1000 / patches));
    this.#timers.push(setInterval(() => this.#send({ type: "beat", epoch: "1", seq: this.#seq, now: Date.now() / 1000 }), 2000));
  }

  #at = 0;

  /** The next jobs in turn that are under way, a step further. */
  #some(records: number): JobRecord[] {
    const all = [...this.jobs.values()];
    const moved: JobRecord[] = [];
    for (let looked = 0; looked < all.length && moved.length < records; looked += 1) {
      this.#at = (this.#at + 1) % all.length;
      const job = all[this.#at];
      if (job && (job.status === "running" || this.#options.records >= 100)) moved.push(move(job, "step"));
    }
    return moved.map((job) => ({ ...job, log_bytes: logSize(job) }));
  }
}
