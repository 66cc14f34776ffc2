/** What one reader has in front of them: filter, order, selection, the open job. Stays in the page. */

import { batch, computed, signal } from "@preact/signals";
import type { ReadonlySignal } from "@preact/signals";
import { chipOf, isEnded } from "./model.ts";
import type { Chip } from "./model.ts";
import { hold, settled, sortJobs } from "./order.ts";
import type { Column, Sorting } from "./order.ts";
import { parseQuery } from "./query.ts";
import type { Query } from "./query.ts";
import type { JobRecord } from "./schema.gen.ts";
import type { Store, Verb } from "./store.ts";

export type Tab = "app" | "error" | "log" | "result" | "arguments" | "attempts";

export interface Confirmation {
  readonly verb: Verb;
  readonly ids: readonly string[];
}

const BY_NUMBER: Sorting = { column: "number", descending: false };
/** Columns whose first click is more useful from the large end. */
const LARGE_FIRST: ReadonlySet<Column> = new Set<Column>(["time", "memory"]);

export class Desk {
  readonly store: Store;
  readonly text = signal("");
  readonly chips = signal<ReadonlySet<Chip>>(new Set());
  readonly sorting = signal<Sorting>(BY_NUMBER);
  readonly selected = signal<ReadonlySet<string>>(new Set());
  /** The row that the keyboard is on. */
  readonly cursor = signal<string | null>(null);
  /** Grows when the keyboard moved the cursor, so that the table brings its row into view and focuses it. */
  readonly moved = signal(0);
  readonly opened = signal<string | null>(null);
  /** The tab that was chosen; what is shown depends on the job as well. */
  readonly tab = signal<Tab | null>(null);
  readonly follow = signal(true);
  readonly wrap = signal(true);
  readonly help = signal(false);
  /** Whether the open job takes the room of the table as well. */
  readonly wide = signal(false);
  /** Pixels that the panel with a web app is high. */
  readonly appHeight = signal(560);
  readonly confirmation = signal<Confirmation | null>(null);
  /** Whether the pointer is on the rows: then none of them moves. */
  readonly pointing = signal(false);

  readonly query: ReadonlySignal<Query> = computed(() => parseQuery(this.text.value));
  readonly visible: ReadonlySignal<readonly string[]> = computed(() => this.#arrange());
  /** Whether the rows would stand otherwise if the pointer were elsewhere. */
  readonly held = signal(false);

  #shown: readonly string[] = [];
  #asked: readonly unknown[] = [];
  #anchor: string | null = null;

  constructor(store: Store) {
    this.store = store;
  }

  get filtered(): boolean {
    return !this.query.value.all || this.chips.value.size > 0;
  }

  toggleChip(chip: Chip): void {
    const chips = new Set(this.chips.peek());
    if (!chips.delete(chip)) chips.add(chip);
    this.chips.value = chips;
  }

  sortBy(column: Column): void {
    const { column: before, descending } = this.sorting.peek();
    this.sorting.value = { column, descending: before === column ? !descending : LARGE_FIRST.has(column) };
  }

  clearFilter(): void {
    batch(() => {
      this.text.value = "";
      this.chips.value = new Set();
    });
  }

  // Moving about

  move(step: number): void {
    const rows = this.visible.peek();
    if (!rows.length) return;
    const at = this.cursor.peek();
    const from = at === null ? -1 : rows.indexOf(at);
    const to = from < 0 ? (step > 0 ? 0 : rows.length - 1) : Math.min(rows.length - 1, Math.max(0, from + step));
    this.goTo(rows[to] ?? null);
  }

  /** Put the cursor on a row; an open detail panel follows. */
  goTo(id: string | null): void {
    batch(() => {
      this.cursor.value = id;
      this.moved.value += 1;
      if (id !== null && this.opened.peek() !== null) this.opened.value = id;
    });
  }

  open(id: string, tab: Tab | null = null): void {
    batch(() => {
      this.cursor.value = id;
      this.opened.value = id;
      if (tab !== null || this.opened.peek() !== id) this.tab.value = tab;
    });
  }

  /** Open the job's web app in a tab of its own; where there is no way to it, the panel that tells why. */
  openApp(id: string): void {
    const job = this.store.board.jobs.get(id);
    if (!job?.ready || !this.store.live.peek()) return;
    const { place, way } = this.store.reach.to(job);
    if (!place || way === null || way.kind === "none") this.open(id, "app");
    else window.open(way.url, "_blank", "noopener,noreferrer");
  }

  /** Close the panel; the focus goes back to its row, or the next key would scroll the notebook. */
  close(): void {
    this.opened.value = null;
    this.wide.value = false;
    this.moved.value += 1;
  }

  /** To the next failed job in the order shown, or the one before, around the end. */
  toFailed(step: 1 | -1): void {
    const rows = this.visible.peek();
    const at = this.cursor.peek();
    const from = at === null ? -1 : rows.indexOf(at);
    for (let i = 1; i <= rows.length; i += 1) {
      const start = from < 0 && step < 0 ? 0 : from;
      const id = rows[(start + step * i + rows.length * 2) % rows.length];
      if (id !== undefined && this.store.board.jobs.get(id)?.status === "failed") return this.goTo(id);
    }
  }

  // Selecting

  tick(id: string): void {
    const selected = new Set(this.selected.peek());
    if (!selected.delete(id)) selected.add(id);
    this.#anchor = id;
    this.selected.value = selected;
  }

  /** Select from the row ticked last to this one. */
  tickTo(id: string): void {
    const rows = this.visible.peek();
    const from = rows.indexOf(this.#anchor ?? this.cursor.peek() ?? id);
    const to = rows.indexOf(id);
    if (to < 0) return;
    const selected = new Set(this.selected.peek());
    for (const each of rows.slice(Math.min(from < 0 ? to : from, to), Math.max(from, to) + 1)) selected.add(each);
    this.selected.value = selected;
  }

  /** Select all that match; once more, none. */
  tickAll(): void {
    const rows = this.visible.peek();
    const all = rows.every((id) => this.selected.peek().has(id));
    this.selected.value = all ? new Set() : new Set([...this.selected.peek(), ...rows]);
  }

  // Acting

  /** What a key or a button of the bar acts on: the selection, else the row with the cursor. */
  targets(): readonly string[] {
    const selected = this.chosen();
    if (selected.length) return selected;
    const at = this.cursor.peek() ?? this.opened.peek();
    return at === null ? [] : [at];
  }

  /** Selected jobs that are still known. */
  chosen(): readonly string[] {
    void this.store.version.value;
    return [...this.selected.value].filter((id) => this.store.board.jobs.has(id));
  }

  /** Those of `ids` for which the verb means anything. */
  able(verb: Verb, ids: readonly string[]): readonly string[] {
    void this.store.version.value;
    return ids.filter((id) => {
      const job = this.store.board.jobs.get(id);
      return job !== undefined && (verb === "rerun" ? isEnded(job) : !isEnded(job) && !job.cancel_requested);
    });
  }

  /** Do it to one at once; to more after a question. */
  ask(verb: Verb, ids: readonly string[]): void {
    const able = this.able(verb, ids);
    if (!this.store.alive.peek() || !able.length) return;
    if (able.length === 1) this.#act({ verb, ids: able });
    else this.confirmation.value = { verb, ids: able };
  }

  confirm(): void {
    const confirmation = this.confirmation.peek();
    if (!confirmation) return;
    this.decline();
    this.#act(confirmation);
  }

  /** Take the question away; the focus goes back to the row it was on, or the next key would go nowhere. */
  decline(): void {
    this.confirmation.value = null;
    this.moved.value += 1;
  }

  #act({ verb, ids }: Confirmation): void {
    if (verb === "cancel") this.store.cancel(ids);
    else this.store.rerun(ids);
  }

  #arrange(): readonly string[] {
    void this.store.version.value;
    const { board } = this.store;
    const query = this.query.value;
    const chips = this.chips.value;
    const sorting = this.sorting.value;
    const fresh = this.#matching(query, chips, sorting);
    const asked = [query, chips, sorting];
    const same = asked.every((each, i) => each === this.#asked[i]);
    this.#asked = asked;
    let rows: readonly string[] = fresh;
    if (this.pointing.value && same) rows = hold(this.#shown, fresh, (id) => board.jobs.has(id));
    this.#shown = settled(this.#shown, rows);
    const held = settled(this.#shown, fresh) === fresh && fresh !== this.#shown;
    queueMicrotask(() => (this.held.value = held));
    return this.#shown;
  }

  #matching(query: Query, chips: ReadonlySet<Chip>, sorting: Sorting): readonly string[] {
    const { board } = this.store;
    const plain = sorting.column === "number";
    if (plain && query.all && !chips.size) return sorting.descending ? board.order.toReversed() : board.order;
    const jobs: JobRecord[] = [];
    for (const id of board.order) {
      const job = board.jobs.get(id);
      if (job && (!chips.size || chips.has(chipOf(job))) && query.matches(job)) jobs.push(job);
    }
    if (!plain) return sortJobs(jobs, sorting, this.store.now.peek());
    const ids = jobs.map((job) => job.id);
    return sorting.descending ? ids.reverse() : ids;
  }
}
