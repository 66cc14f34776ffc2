/** What all views of one widget share: the board, the connection, commands under way, details and logs. */

import { computed, signal } from "@preact/signals";
import type { Signal } from "@preact/signals";
import { Logbook } from "./logbook.ts";
import type { Range } from "./logbook.ts";
import { Board, isEnded, stopping } from "./model.ts";
import { Reach } from "./reach.ts";
import type { Answer, Detail, JobRecord, LogMatches, MessageIn, MessageOut } from "./schema.gen.ts";
import type { Channel } from "./transport.ts";

/** Seconds without a message (the kernel beats every two) after which the kernel counts as not answering. */
const LATE_S = 5;
/** After this an unanswered question about a log is asked again. */
const LOST_MS = 5000;
/** After this an unanswered command is said to wait. */
const SLOW_MS = 1000;
/** For this long an answer stays on the page. */
const ANSWER_MS = 6000;

export type Connection =
  | { readonly state: "connecting" | "live" | "absent" }
  | { readonly state: "late"; readonly since: number }
  | { readonly state: "gone"; readonly why: string };

export type Verb = "cancel" | "rerun";

/** A job's detail as far as it is known, and the record for which it was asked. */
interface Inspected {
  readonly detail: Signal<Detail | null>;
  asked: JobRecord | null;
}

/** A job's log as far as it is held. `version` changes with it; `hit` is the place last jumped to. */
export interface OpenLog {
  readonly book: Logbook;
  readonly version: Signal<number>;
  readonly matches: Signal<LogMatches | null>;
  readonly waiting: Signal<boolean>;
  askedAt: number;
  /** What the next answer does: stand alone or join what is held. */
  fresh: boolean;
}

export class Store {
  readonly board = new Board();
  /** Grows with every change of the board. */
  readonly version = signal(0);
  readonly connection = signal<Connection>({ state: "connecting" });
  /** The kernel's time, in whole steps of the one timer. */
  readonly now = signal(Date.now() / 1000);
  /** The same in whole seconds, for what only needs to tick. */
  readonly second = computed(() => Math.floor(this.now.value));
  /** Jobs that a command was sent for and that have not changed since. */
  readonly asked = signal<ReadonlyMap<string, Verb>>(new Map());
  /** Limits that were asked for and are not answered yet, by slot name. */
  readonly limits = signal<ReadonlyMap<string, number>>(new Map());
  readonly slow = signal(false);
  readonly answer = signal<{ readonly text: string; readonly ok: boolean } | null>(null);
  /** Whether the kernel is there, so that what is known of it holds now. */
  readonly live = computed(() => {
    const { state } = this.connection.value;
    return state === "live" || state === "late";
  });
  /** Whether a command can have any effect. */
  readonly alive = computed(() => {
    void this.version.value;
    return this.live.value && this.board.engine?.running !== false;
  });

  #channel: Channel;
  #reach: Reach | null = null;
  #views = 0;
  #close: (() => void)[] = [];
  #heard = 0;
  #ahead: number | null = null;
  #helloAt: number | null = null;
  #request = 0;
  #commands = new Map<number, { readonly ids: readonly string[]; readonly slow: ReturnType<typeof setTimeout> }>();
  #forget: ReturnType<typeof setTimeout> | undefined;
  #inspected = new Map<string, Inspected>();
  #logs = new Map<string, OpenLog>();

  constructor(channel: Channel) {
    this.#channel = channel;
  }

  /** A view has come; the first one connects. Returns what to call when it goes; the last one says bye. */
  open(): () => void {
    this.#views += 1;
    if (this.#views === 1) this.#connect();
    let open = true;
    return () => {
      if (!open) return;
      open = false;
      this.#views -= 1;
      if (this.#views === 0) this.#disconnect();
    };
  }

  /** How this page reaches web apps. */
  get reach(): Reach {
    return (this.#reach ??= new Reach());
  }

  job(id: string): JobRecord | undefined {
    void this.version.value;
    return this.board.jobs.get(id);
  }

  // Commands. Each is marked on its rows at once, whether or not the kernel has answered.

  cancel(ids: readonly string[]): void {
    this.#command("cancel", ids.filter((id) => this.#jobEnded(id) === false));
  }

  rerun(ids: readonly string[]): void {
    this.#command("rerun", ids.filter((id) => this.#jobEnded(id) === true));
  }

  limit(name: string, limit: number): void {
    if (!this.alive.peek()) return;
    this.limits.value = new Map(this.limits.peek()).set(name, limit);
    const request = this.#expect([]);
    this.#send({ type: "limit", request, name, limit });
  }

  // What is open is asked for; what is closed is forgotten.

  inspect(id: string): Signal<Detail | null> {
    let entry = this.#inspected.get(id);
    if (!entry) {
      entry = { detail: signal(null), asked: null };
      this.#inspected.set(id, entry);
    }
    this.#refresh(id, entry);
    return entry.detail;
  }

  openLog(id: string): OpenLog {
    let log = this.#logs.get(id);
    if (!log) {
      log = { book: new Logbook(), version: signal(0), matches: signal(null), waiting: signal(false), askedAt: 0, fresh: true };
      this.#logs.set(id, log);
    }
    return log;
  }

  forget(id: string): void {
    this.#inspected.delete(id);
    this.#logs.delete(id);
  }

  /** Ask for a part of a log; one question at a time. */
  readLog(id: string, range: Range, fresh: boolean): void {
    const log = this.openLog(id);
    const now = performance.now();
    if (log.waiting.peek() && !fresh && now - log.askedAt < LOST_MS) return;
    log.waiting.value = true;
    log.askedAt = now;
    log.fresh = fresh;
    this.#send({ type: "read_log", id, start: range.start, stop: range.stop });
  }

  searchLog(id: string, query: string): void {
    const log = this.openLog(id);
    if (query === "") log.matches.value = null;
    else this.#send({ type: "search_log", id, query });
  }

  #connect(): void {
    const stop = this.#channel.listen(
      (message) => this.#take(message),
      (why) => this.#gone(why),
    );
    const timer = setInterval(() => this.#tick(), 1000);
    const shown = () => {
      // A page in the background is not told the time; it has missed nothing that counts.
      if (document.visibilityState === "visible") this.#heard = performance.now();
    };
    document.addEventListener("visibilitychange", shown);
    this.#close = [stop, () => clearInterval(timer), () => document.removeEventListener("visibilitychange", shown)];
    this.#heard = performance.now();
    if (this.connection.peek().state !== "gone") this.#hello();
  }

  #disconnect(): void {
    this.#send({ type: "bye" });
    for (const close of this.#close.splice(0)) close();
    for (const command of this.#commands.values()) clearTimeout(command.slow);
    clearTimeout(this.#forget);
    this.#commands.clear();
    this.#inspected.clear();
    this.#logs.clear();
    this.#helloAt = null;
  }

  #send(message: MessageIn): void {
    if (this.connection.peek().state !== "gone") this.#channel.send(message);
  }

  #hello(): void {
    const now = performance.now();
    if (this.#helloAt !== null && now - this.#helloAt < 1000) return;
    this.#helloAt = now;
    this.#send({ type: "hello" });
  }

  #take(message: MessageOut): void {
    if (this.connection.peek().state === "gone") return;
    this.#heard = performance.now();
    switch (message.type) {
      case "snapshot":
      case "patch":
      case "beat":
        this.#synchronise(message.now, message.type === "snapshot");
        this.#apply(this.board.apply(message), message.type === "snapshot");
        break;
      case "detail": {
        const entry = this.#inspected.get(message.id);
        if (entry) entry.detail.value = message;
        break;
      }
      case "log": {
        const log = this.#logs.get(message.id);
        if (!log) break;
        log.waiting.value = false;
        log.book.put(message, log.fresh);
        log.fresh = false;
        log.version.value += 1;
        break;
      }
      case "matches": {
        const log = this.#logs.get(message.id);
        if (log) log.matches.value = message;
        break;
      }
      case "answer":
        this.#answered(message);
        break;
      default:
        message satisfies never;
    }
    const { state } = this.connection.peek();
    if (state === "late" || (state !== "live" && this.board.engine)) this.connection.value = { state: "live" };
  }

  #apply(result: "applied" | "ignored" | "gap", all: boolean): void {
    if (result === "gap") this.#hello();
    if (result !== "applied") return;
    if (all) this.#helloAt = null;
    this.#settle(all);
    this.now.value = this.#time();
    this.version.value += 1;
    for (const [id, entry] of this.#inspected) this.#refresh(id, entry);
  }

  /** The kernel's clock may differ from ours; the message that took least time tells by how much. */
  #synchronise(now: number, again: boolean): void {
    const ahead = now - Date.now() / 1000;
    this.#ahead = this.#ahead === null || again ? ahead : Math.max(this.#ahead, ahead);
  }

  #time(): number {
    return Date.now() / 1000 + (this.#ahead ?? 0);
  }

  #tick(): void {
    if (document.visibilityState === "hidden") return;
    const { state } = this.connection.peek();
    if (state === "gone") return; // what is shown is the past; it does not tick
    this.now.value = this.#time();
    const silent = (performance.now() - this.#heard) / 1000;
    if (silent < LATE_S) return;
    if (state === "connecting") this.connection.value = { state: "absent" };
    if (state === "live") this.connection.value = { state: "late", since: this.#time() - silent };
  }

  #gone(why: string): void {
    if (this.connection.peek().state === "gone") return;
    this.connection.value = { state: "gone", why };
    for (const command of this.#commands.values()) clearTimeout(command.slow);
    this.#commands.clear();
    this.asked.value = new Map();
    this.limits.value = new Map();
    this.slow.value = false;
  }

  #jobEnded(id: string): boolean | undefined {
    const job = this.board.jobs.get(id);
    return job && isEnded(job);
  }

  #command(verb: Verb, ids: readonly string[]): void {
    if (!ids.length || !this.alive.peek()) return;
    const asked = new Map(this.asked.peek());
    for (const id of ids) asked.set(id, verb);
    this.asked.value = asked;
    this.#send({ type: verb, request: this.#expect(ids), ids });
  }

  #expect(ids: readonly string[]): number {
    this.#request += 1;
    const slow = setTimeout(() => (this.slow.value = true), SLOW_MS);
    this.#commands.set(this.#request, { ids, slow });
    return this.#request;
  }

  #answered(message: Answer): void {
    const command = this.#commands.get(message.request);
    if (!command) return;
    clearTimeout(command.slow);
    this.#commands.delete(message.request);
    if (!this.#commands.size) {
      this.slow.value = false;
      this.limits.value = new Map();
    }
    // A job that was refused, or has changed already, must not look as if it still waited.
    const asked = new Map(this.asked.peek());
    for (const id of command.ids) if (!message.ok || asked.get(id) === "rerun") asked.delete(id);
    this.asked.value = asked;
    this.answer.value = { text: message.text, ok: message.ok };
    clearTimeout(this.#forget);
    this.#forget = setTimeout(() => (this.answer.value = null), ANSWER_MS);
  }

  /** Drop the marks of commands whose effect the board shows. */
  #settle(all: boolean): void {
    const asked = this.asked.peek();
    if (!asked.size) return;
    const left = new Map<string, Verb>();
    for (const [id, verb] of asked) {
      const job = this.board.jobs.get(id);
      if (!job || (all && !this.#commands.size)) continue;
      if (verb === "cancel" ? !stopping(job) && !isEnded(job) : isEnded(job)) left.set(id, verb);
    }
    if (left.size !== asked.size) this.asked.value = left;
  }

  #refresh(id: string, entry: Inspected): void {
    const job = this.board.jobs.get(id);
    const { asked } = entry;
    if (!job || (asked && asked.status === job.status && asked.attempt === job.attempt && asked.error === job.error && asked.result === job.result)) return;
    entry.asked = job;
    this.#send({ type: "inspect", id });
  }
}
