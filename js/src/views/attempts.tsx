import { brief, duration, elapsed, plural } from "../format.ts";
import type { Look } from "../model.ts";
import type { AttemptRecord } from "../schema.gen.ts";
import type { Store } from "../store.ts";
import { Shape } from "./shapes.tsx";

const LOOKS: Readonly<Record<AttemptRecord["outcome"], Look>> = {
  "": "running",
  done: "done",
  failed: "failed",
  cancelled: "cancelled",
  timeout: "failed",
  released: "cancelled",
  lost: "failed",
};

/** Each try as a bar: how long it waited, how long it ran, and how it ended. */
export function Attempts({ attempts, store }: { attempts: readonly AttemptRecord[]; store: Store }) {
  if (!attempts.length) return <p class="ij-quiet">Not started yet.</p>;
  const now = store.second.value;
  const longest = Math.max(...attempts.map((each) => (each.ended_at ?? now) - each.queued_at), 0.001);
  const rounds = new Set(attempts.map((each) => each.round)).size;
  return (
    <div class="ij-stack ij-attempts" data-testid="attempts">
      <div class="ij-attempt-legend">
        <span class="ij-grow">
          {plural(attempts.length, "attempt")}
          {rounds > 1 && ` in ${rounds} rounds`}
        </span>
        <i class="ij-queued" aria-hidden="true" /> waited
        <i class="ij-ran" aria-hidden="true" /> ran
      </div>
      {attempts.map((each) => (
        <Attempt key={`${each.round}.${each.number}`} attempt={each} now={now} longest={longest} rounds={rounds} />
      ))}
    </div>
  );
}

function Attempt({ attempt, now, longest, rounds }: { attempt: AttemptRecord; now: number; longest: number; rounds: number }) {
  const { queued_at, started_at, ended_at, outcome } = attempt;
  const waiting = started_at === null && ended_at === null;
  const look = waiting ? "waiting" : LOOKS[outcome];
  const begun = started_at ?? ended_at ?? now;
  const ended = ended_at ?? now;
  const width = (seconds: number) => `${Math.max(0, Math.min(100, (seconds / longest) * 100))}%`;
  const ran = Math.max(0, ended - begun);
  const waited = Math.max(0, begun - queued_at);
  return (
    <div class="ij-attempt" data-testid="attempt">
      <Shape look={look} />
      <span class="ij-attempt-name">
        {rounds > 1 ? `${attempt.round}.` : ""}
        {attempt.number} {waiting ? "waiting" : outcome || "running"}
      </span>
      <span class="ij-lane" title={`waited ${duration(waited)}${started_at === null ? "" : `, ran ${duration(ran)}`}`}>
        <i class="ij-queued" style={{ width: width(waited) }} />
        {started_at !== null && <i class={`ij-ran ij-part-${look}`} style={{ width: width(ran) }} />}
      </span>
      <span class="ij-num">{started_at === null ? "" : ended_at === null ? elapsed(ran) : duration(ran)}</span>
      {(attempt.error || attempt.worker) && (
        <span class="ij-attempt-more">
          {attempt.error && <span class="ij-is-failed">{brief(attempt.error)}</span>}
          {attempt.worker && <span>{brief(attempt.worker, 80)}</span>}
        </span>
      )}
    </div>
  );
}
