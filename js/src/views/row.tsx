import type { Desk } from "../desk.ts";
import { brief, bytes, duration, elapsed, nameOf, percent, remaining, upcoming } from "../format.ts";
import { isEnded, isWaiting, leftSeconds, lookOf, runSeconds } from "../model.ts";
import type { Look } from "../model.ts";
import type { JobRecord } from "../schema.gen.ts";
import type { Store, Verb } from "../store.ts";
import { AppLine } from "./appline.tsx";
import { Glyph, Shape, WORDS } from "./shapes.tsx";
import { still } from "./still.tsx";

/** Pixels; the same for every row, so that its place follows from its number. */
export const ROW = 28;

interface RowProps {
  readonly job: JobRecord;
  readonly index: number;
  readonly cursor: boolean;
  readonly opened: boolean;
  readonly selected: boolean;
  readonly asked: Verb | undefined;
  readonly desk: Desk;
}

export const Row = still<RowProps>(({ job, index, cursor, opened, selected, asked, desk }) => {
  const look = lookOf(job, asked === "cancel");
  const name = nameOf(job.name);
  const click = (event: MouseEvent) => {
    if (event.shiftKey) desk.tickTo(job.id);
    else if (event.ctrlKey || event.metaKey) desk.tick(job.id);
    else if (opened) desk.close();
    else desk.open(job.id);
    desk.cursor.value = job.id;
  };
  return (
    <div
      role="row"
      class={`ij-row${opened ? " ij-opened" : ""}${selected ? " ij-selected" : ""}${asked ? " ij-asked" : ""}`}
      style={{ transform: `translateY(${index * ROW}px)` }}
      aria-rowindex={index + 2}
      aria-selected={selected}
      tabIndex={cursor ? 0 : -1}
      data-testid="row"
      data-id={job.id}
      data-status={job.status}
      data-look={look}
      data-name={job.name.slice(0, 200)}
      onClick={click}
      onMouseDown={(event) => event.shiftKey && event.preventDefault()}
      onFocus={() => (desk.cursor.value = job.id)}
    >
      <div role="gridcell" class="ij-tick" onClick={(event) => tickClick(event, job.id, desk)}>
        <span class={`ij-box${selected ? " ij-on" : ""}`} data-testid="tick" role="checkbox" aria-checked={selected} aria-label={`select ${name}`} />
      </div>
      <div role="gridcell" class="ij-number">{job.number}</div>
      <div role="gridcell" class={`ij-status ij-is-${look}`}>
        <Shape look={look} />
        <span>{WORDS[look]}</span>
      </div>
      <div role="gridcell" class="ij-name" title={`${name} ${brief(job.arguments, 400)}`}>
        {job.address && <Glyph name="home" />}
        {name}
        {job.arguments && <code>{brief(job.arguments)}</code>}
      </div>
      <div role="gridcell" class="ij-group">{job.group !== null && <span>{brief(job.group, 60)}</span>}</div>
      <div role="gridcell" class="ij-progress">
        <Outcome job={job} look={look} store={desk.store} />
      </div>
      <div role="gridcell" class="ij-num ij-time">
        <RunTime job={job} store={desk.store} />
      </div>
      <div role="gridcell" class="ij-num ij-mem">{job.memory_bytes !== null && bytes(job.memory_bytes)}</div>
      <div role="gridcell" class="ij-num ij-from">{brief(job.origin, 20)}</div>
      <RowAction job={job} look={look} asked={asked} desk={desk} />
    </div>
  );
});

function tickClick(event: MouseEvent, id: string, desk: Desk): void {
  event.stopPropagation();
  if (event.shiftKey) desk.tickTo(id);
  else desk.tick(id);
  desk.cursor.value = id;
}

/** Shown on hover: the one thing that can be done to this job. */
function RowAction({ job, look, asked, desk }: { job: JobRecord; look: Look; asked: Verb | undefined; desk: Desk }) {
  const verb: Verb = isEnded(job) ? "rerun" : "cancel";
  if (look === "stopping" || asked) return null;
  const act = (event: MouseEvent) => {
    event.stopPropagation();
    desk.ask(verb, [job.id]);
  };
  return (
    <span role="gridcell" class="ij-act">
      <button type="button" tabIndex={-1} class="ij-icon" data-testid={`row-${verb}`} aria-label={`${verb} ${nameOf(job.name)}`} title={verb === "cancel" ? "Cancel (c)" : "Rerun (r)"} disabled={!desk.store.alive.value} onClick={act}>
        <Glyph name={verb} />
      </button>
    </span>
  );
}

/** Run time; ticks while the job runs. */
export function RunTime({ job, store }: { job: JobRecord; store: Store }) {
  if (job.status === "running") return <>{elapsed(runSeconds(job, store.second.value) ?? 0)}</>;
  const seconds = runSeconds(job, 0);
  return <>{seconds === null || job.ended_at === null ? "" : duration(seconds)}</>;
}

const REASONS: Readonly<Record<string, string>> = {
  user: "by you",
  upstream: "a job it needs was not done",
  timeout: "timed out",
  lost: "lost with its kernel",
  shutdown: "the engine stopped",
  veto: "vetoed",
};

export const reasonOf = (job: JobRecord): string => (job.reason === null ? "" : (REASONS[job.reason] ?? job.reason));

/** How far it is, what it waits for, or what came of it. */
function Outcome({ job, look, store }: { job: JobRecord; look: Look; store: Store }) {
  if (isWaiting(job)) return <Said text={waitingText(job, store)} />;
  if (look === "failed") return <Said text={job.error || reasonOf(job)} tone="ij-is-failed" />;
  if (look === "done") return <Said text={job.result || job.note} />;
  if (look === "cancelled") return <Said text={job.note || reasonOf(job)} />;
  if (job.address) return <AppLine job={job} store={store} />;
  if (job.progress === null) return <Said text={job.note || nextText(job, store) || job.message} />;
  return <Bar job={job} store={store} stopping={look === "stopping"} />;
}

function Said({ text, tone = "" }: { text: string; tone?: string }) {
  return (
    <span class={`ij-said ${tone}`} title={brief(text, 600)}>
      {brief(text)}
    </span>
  );
}

function waitingText(job: JobRecord, store: Store): string {
  if (job.waiting_for === "retry") return retryText(job, store);
  if (job.waiting_for === "condition" && job.next_at !== null) return nextText(job, store);
  return job.waiting || job.note;
}

/** When a job that waits for a time starts, or one that submits others does so next; ticks. Empty for all others. */
export function nextText(job: JobRecord, store: Store): string {
  if (job.next_at === null) return "";
  const text = `${isWaiting(job) ? "starts" : "next"} ${upcoming(job.next_at, store.second.value)}`;
  return [text, job.message].filter(Boolean).join(" · ");
}

export function retryText(job: JobRecord, store: Store): string {
  if (job.retry_at === null) return job.waiting;
  const left = job.retry_at - store.second.value;
  return left > 0 ? `attempt ${job.attempt + 1} in ${elapsed(left)}` : `attempt ${job.attempt + 1} soon`;
}

export function Bar({ job, store, stopping }: { job: JobRecord; store: Store; stopping: boolean }) {
  const part = Math.min(1, Math.max(0, job.progress ?? 0));
  const left = stopping ? null : leftSeconds(job, store.second.value);
  return (
    <div class="ij-track-line" title={brief([percent(part), job.message, job.note].filter(Boolean).join(" · "), 600)}>
      <div class={`ij-track${stopping ? " ij-still" : ""}`} role="progressbar" aria-label="progress" aria-valuemin={0} aria-valuemax={100} aria-valuenow={Math.floor(part * 100)}>
        <i style={{ transform: `scaleX(${part})` }} />
      </div>
      <small>{left === null ? percent(part) : remaining(left)}</small>
    </div>
  );
}
