import { useSignal } from "@preact/signals";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import type { Ref } from "preact";
import type { Desk } from "../desk.ts";
import { bytes, plural, whole } from "../format.ts";
import { CHUNK } from "../logbook.ts";
import { isEnded } from "../model.ts";
import type { JobRecord } from "../schema.gen.ts";
import type { OpenLog } from "../store.ts";
import { LogPiece } from "./loglines.tsx";
import { Glyph } from "./shapes.tsx";

/** Pixels from an end at which more is asked for. */
const NEAR = 400;

/** The job's output. Only the part around the reader is held, however long it is. */
export function LogTab({ desk, job }: { desk: Desk; job: JobRecord }) {
  const { store } = desk;
  const log = store.openLog(job.id);
  void log.version.value;
  const follow = desk.follow.value;
  const { book } = log;
  const scroller = useRef<HTMLDivElement>(null);
  useReading(desk, job, log);
  useAnchor(scroller, log, follow);
  const search = useSignal("");
  const hit = useSignal(-1);
  const scrolled = () => {
    const element = scroller.current;
    if (!element) return;
    const below = element.scrollHeight - element.scrollTop - element.clientHeight;
    if (desk.follow.peek() && below > 60 && element.dataset["steady"] === "yes") desk.follow.value = false;
    const before = element.scrollTop < NEAR ? book.before() : null;
    if (before) store.readLog(job.id, before, false);
    else if (below < NEAR && !book.atEnd) store.readLog(job.id, book.after(), false);
  };
  const jump = (offset: number) => {
    desk.follow.value = false;
    store.readLog(job.id, { start: offset, stop: offset + CHUNK }, true);
  };
  const [gapFrom, gapTo] = book.dropped;
  return (
    <div class="ij-log-tab">
      <LogTools desk={desk} job={job} log={log} search={search} hit={hit} jump={jump} />
      <div
        ref={scroller}
        class={`ij-log${desk.wrap.value ? " ij-wrap" : ""}`}
        data-testid="log"
        role="log"
        aria-live="off"
        aria-label="Output"
        tabIndex={0}
        onScroll={scrolled}
      >
        {!book.pieces.length && <p class="ij-quiet">{log.fresh ? "Loading…" : isEnded(job) ? "It printed nothing." : "Nothing printed yet."}</p>}
        {book.pieces.map((piece, i) => (
          <div key={piece.start} data-start={piece.start}>
            {gapTo > gapFrom && piece.start >= gapTo && (i === 0 ? gapFrom === 0 : (book.pieces[i - 1]?.stop ?? 0) <= gapFrom) && (
              <div class="ij-gap">{bytes(gapTo - gapFrom)} not kept</div>
            )}
            <LogPiece text={piece.text} query={log.matches.value?.query ?? ""} target={hit.value >= 0 && log.matches.value?.offsets[hit.value] === piece.start} />
          </div>
        ))}
      </div>
    </div>
  );
}

interface ToolsProps {
  readonly desk: Desk;
  readonly job: JobRecord;
  readonly log: OpenLog;
  readonly search: { value: string };
  readonly hit: { value: number };
  readonly jump: (offset: number) => void;
}

function LogTools({ desk, job, log, search, hit, jump }: ToolsProps) {
  const { store } = desk;
  const matches = log.matches.value;
  const { book } = log;
  const find = (text: string) => {
    search.value = text;
    hit.value = -1;
    store.searchLog(job.id, text);
  };
  const step = (by: number) => {
    const n = matches?.offsets.length ?? 0;
    if (!matches || !n) return;
    const from = hit.value < 0 ? (by > 0 ? -1 : n) : hit.value;
    hit.value = (from + by + n) % n;
    const offset = matches.offsets[hit.value];
    if (offset !== undefined) jump(offset);
  };
  const found = !search.value || !matches || matches.query !== search.value ? "" : matches.total === 0 ? "none" : hit.value >= 0 ? `${whole(hit.value + 1)} of ${whole(matches.total)}` : plural(matches.total, "line");
  return (
    <div class="ij-log-tools">
      <label class="ij-search ij-small">
        <Glyph name="search" />
        <input
          type="text"
          data-testid="log-search"
          value={search.value}
          placeholder="Find"
          aria-label="Find in the log"
          autocomplete="off"
          spellcheck={false}
          onInput={(event) => find(event.currentTarget.value)}
          onKeyDown={(event) => {
            if (event.key !== "Enter") return;
            event.preventDefault();
            step(event.shiftKey ? -1 : 1);
          }}
        />
        <span class="ij-count" data-testid="log-hits" aria-live="polite">
          {found}
        </span>
        <button type="button" class="ij-icon" data-testid="log-previous" aria-label="Previous hit" disabled={!matches?.offsets.length} onClick={() => step(-1)}>
          <Glyph name="up" />
        </button>
        <button type="button" class="ij-icon" data-testid="log-next" aria-label="Next hit" disabled={!matches?.offsets.length} onClick={() => step(1)}>
          <Glyph name="down" />
        </button>
      </label>
      <span class="ij-grow" />
      {!(book.atStart && book.atEnd) && (
        <>
          <span class="ij-where" data-testid="log-where" title={`Bytes ${whole(book.start)} to ${whole(book.stop)} of ${whole(book.size)} are held`}>
            {place(book.start / book.size)} of {bytes(book.size)}
          </span>
          <button type="button" class="ij-icon" data-testid="log-start" aria-label="To the start" title="To the start" onClick={() => jump(0)}>
            <Glyph name="start" />
          </button>
          <button type="button" class="ij-icon" data-testid="log-end" aria-label="To the end" title="To the end" onClick={() => (desk.follow.value = true)}>
            <Glyph name="end" />
          </button>
        </>
      )}
      <Toggle name="follow" on={desk.follow.value} set={(on) => (desk.follow.value = on)} />
      <Toggle name="wrap" on={desk.wrap.value} set={(on) => (desk.wrap.value = on)} />
    </div>
  );
}

/** Where in the whole log, fine enough for one of a gigabyte. */
function place(part: number): string {
  return `${(part * 100).toFixed(part > 0 && part < 1 ? 1 : 0)} %`;
}

function Toggle({ name, on, set }: { name: "follow" | "wrap"; on: boolean; set: (on: boolean) => void }) {
  return (
    <button type="button" class={`ij-toggle${on ? " ij-on" : ""}`} data-testid={`log-${name}`} aria-pressed={on} onClick={() => set(!on)}>
      {name}
      <kbd>{name[0]}</kbd>
    </button>
  );
}

/** Read the end first; then, while following, what is added. */
function useReading(desk: Desk, job: JobRecord, log: OpenLog): void {
  const { store } = desk;
  const follow = desk.follow.value;
  const version = log.version.value;
  const empty = log.fresh && !log.waiting.peek();
  useEffect(() => {
    if (empty) store.readLog(job.id, log.book.tail(), true);
  }, [job.id, empty]);
  // A rerun writes a new log: the size falls back.
  const shrunk = !log.fresh && job.log_bytes < log.book.size && job.log_bytes < log.book.stop;
  useEffect(() => {
    if (log.fresh) return;
    if (shrunk) store.readLog(job.id, log.book.tail(), true);
    else if (follow) {
      const more = log.book.more(Math.max(job.log_bytes, log.book.size));
      if (more) store.readLog(job.id, more, more.start < 0);
    }
  }, [job.log_bytes, follow, version, shrunk]);
}

/** Keep what the reader looks at in place when something comes or goes above it; while following, keep the end in view. */
function useAnchor(scroller: { readonly current: HTMLDivElement | null } & Ref<HTMLDivElement>, log: OpenLog, follow: boolean): void {
  const held = useRef<{ readonly start: string; readonly top: number } | null>(null);
  const element = scroller.current;
  if (element) {
    const first = [...element.querySelectorAll<HTMLElement>("[data-start]")].find((each) => each.offsetTop + each.offsetHeight > element.scrollTop);
    held.current = first ? { start: first.dataset["start"] ?? "", top: first.offsetTop - element.scrollTop } : null;
  }
  const version = log.version.value;
  useLayoutEffect(() => {
    const now = scroller.current;
    if (!now) return;
    now.dataset["steady"] = "no";
    if (follow) now.scrollTop = now.scrollHeight;
    else {
      const anchor = held.current;
      const same = [...now.querySelectorAll<HTMLElement>("[data-start]")].find((each) => each.dataset["start"] === anchor?.start);
      now.scrollTop = anchor && same ? same.offsetTop - anchor.top : 0;
    }
    const frame = requestAnimationFrame(() => (now.dataset["steady"] = "yes"));
    return () => cancelAnimationFrame(frame);
  }, [version, follow]);
}
